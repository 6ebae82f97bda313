// The demo page. A user of the package like any other: it knows only what `beex` publishes.
import { BeexError, load, type Classification, type Classifier, type ClassifyOptions, type ExitReason } from 'beex';
import sentiment from 'beex/packs/sentiment';
import { drawFront } from './front';
import { drawTrace } from './trace';

const EXAMPLES = [
  'a charming and often affecting journey',
  'It takes real talent to make a heist this dull.',
  'Not bad at all!',
  'The cast is wonderful, but the story goes nowhere and takes two hours to get there.',
  'I wanted to hate it, and could not.',
  'The film is set in Lisbon.',
];

// Texts beyond this many characters are read when typing pauses.
const LIVE_LENGTH = 4000;

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const text = element<HTMLTextAreaElement>('text');
const slider = element<HTMLInputElement>('speed');

function make(tag: string, className: string, content = ''): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

const percent = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });
const kilobytes = (bytes: number) => `${Math.round(bytes / 1000).toLocaleString('en')} kB`;

// Why the engine stopped, in words for people who have never heard of entropy.
function explain({ exit: { block, of, reason } }: Classification): string {
  if (reason === 'rising') return `Block ${block} of ${of} made it less sure, so that the answer before it stands.`;
  const left = of - block === 1 ? 'the last one' : `the other ${of - block}`;
  const who = block === 0 ? 'The first glance at the words answered; no block ran.'
    : block === of ? `Block ${block}, the last, answered.`
    : `Block ${block} of ${of} answered; ${left} did not run.`;
  const why: Record<Exclude<ExitReason, 'rising'>, string> = {
    last: 'Nothing was left to run.',
    certain: 'It was sure enough to stop at once.',
    reduction: 'It had become hardly any surer in this block, so that more blocks were not worth running.',
    entropy: 'It was sure enough.',
    patience: 'Several exits in a row agreed.',
    probability: 'The best label was likely enough.',
    budget: 'Its time was up.',
  };
  return `${who} ${why[reason]}`;
}

// A place of the slider: what to ask the package for, and in words what that means.
interface Stop {
  options: ClassifyOptions;
  words: string;
}

// The settings of the pack's curve from the fastest to the most accurate, or its own rule when it has none; then everything.
function stopsOf({ info: { speeds } }: Classifier): Stop[] {
  const measured = speeds.map(({ name, work, speedup, accuracy }): Stop => ({
    options: { speed: name ?? { speedup } },
    words: `${name ? `${name}: ` : ''}${percent.format(work)} of the work on average, ${percent.format(accuracy)} right on the texts it was tuned with`,
  }));
  const own: Stop = { options: {}, words: 'the pack’s own exit rule; it has no speed curve to choose from' };
  return [...(measured.length > 0 ? measured : [own]), { options: { speed: 'full' }, words: 'full: every block, every word' }];
}

class Page {
  readonly #classifier: Classifier;
  readonly #stops: Stop[];
  readonly #bars: { item: HTMLElement; fill: HTMLElement; share: HTMLElement }[];
  readonly #blocks: HTMLElement[];
  #timer = 0;

  constructor(classifier: Classifier) {
    this.#classifier = classifier;
    this.#stops = stopsOf(classifier);
    slider.max = String(this.#stops.length - 1);
    slider.value = String(this.#stops.length - 2);
    this.#bars = classifier.labels.map((label) => {
      const item = make('li', '');
      const track = make('span', 'track');
      const fill = make('span', 'fill');
      const share = make('span', 'percent');
      track.append(fill);
      item.append(make('span', 'name', label), track, share);
      element('bars').append(item);
      return { item, fill, share };
    });
    const { blocks } = classifier.info;
    element('blocks').classList.toggle('many', blocks > 6);
    this.#blocks = Array.from({ length: blocks + 1 }, (_, index) => {
      const item = make('li', '');
      if (index === 0) item.textContent = 'words';
      else item.append(make('span', 'word', 'block '), String(index));
      element('blocks').append(item);
      return item;
    });
  }

  // Now for short texts, after a pause for long ones; the time and what a screen reader says always wait for a pause.
  update(): void {
    clearTimeout(this.#timer);
    const input = text.value;
    const live = input.length <= LIVE_LENGTH;
    if (live) this.#show(input);
    this.#timer = window.setTimeout(() => {
      if (!live) this.#show(input);
      if (input.trim() !== '') this.#afterPause(input);
    }, 250);
  }

  #classify(input: string, trace = false): Classification {
    return this.#classifier.classify(input, { ...this.#stops[slider.valueAsNumber]!.options, trace });
  }

  #show(input: string): void {
    const empty = input.trim() === '';
    element('result').hidden = empty;
    if (empty) {
      element('spoken').textContent = '';
      return;
    }
    const result = this.#classify(input, true);
    this.#classifier.labels.forEach((label, index) => {
      const { item, fill, share } = this.#bars[index]!;
      const score = result.scores[label]!;
      item.className = label === result.label ? 'best' : '';
      fill.style.setProperty('--share', String(score));
      share.textContent = percent.format(score);
    });
    this.#blocks.forEach((item, index) => {
      item.className = [index <= result.exit.block && 'ran', index === result.exit.block && 'answered'].filter(Boolean).join(' ');
    });
    element('why').textContent = explain(result) + (result.windows > 1 ? ` The text was read in ${result.windows} windows.` : '');
    element('work').textContent = `${percent.format(result.work)} of the work of running everything`;
    element('speed-words').textContent = this.#stops[slider.valueAsNumber]!.words;
    drawFront(element('front'), this.#classifier.info.speeds, slider.valueAsNumber);
    drawTrace(element('trace'), input, result.trace!);
  }

  #afterPause(input: string): void {
    const result = this.#classify(input);
    element('spoken').textContent = `${result.label}, ${percent.format(result.score)}. ${explain(result)}`;
    const { microseconds, note } = measure(() => this.#classify(input));
    element('time').textContent = microseconds < 10_000
      ? `${Math.round(microseconds).toLocaleString('en')} µs`
      : `${Math.round(microseconds / 1000).toLocaleString('en')} ms`;
    element('time-note').textContent = note;
    // Its first times were those of an engine that the browser had not compiled to the end yet.
    drawTrace(element('trace'), input, this.#classify(input, true).trace!);
  }
}

// Browsers round their clocks, so that short work is timed in batches of at least 4 ms; the median of five batches is shown.
function measure(work: () => void): { microseconds: number; note: string } {
  const time = (runs: number) => {
    const start = performance.now();
    for (let i = 0; i < runs; i++) work();
    return performance.now() - start;
  };
  const batchSize = () => {
    let runs = 1;
    while (runs < 4096 && time(runs) < 4) runs *= 2;
    return runs;
  };
  const once = time(1);
  if (once > 50) return { microseconds: 1000 * once, note: 'for this text, in this browser' };
  batchSize(); // warms the browser's compiler up
  const runs = batchSize();
  const times = Array.from({ length: 5 }, () => time(runs)).sort((x, y) => x - y);
  return { microseconds: (1000 * times[2]!) / runs, note: `for this text, in this browser (median of 5 × ${runs})` };
}

// Bytes over the wire, as the browser counted them.
function transferred(ending: string): number | undefined {
  const entries = performance.getEntriesByType('resource') as PerformanceResourceTiming[];
  return entries.find((entry) => new URL(entry.name).pathname.endsWith(ending))?.encodedBodySize || undefined;
}

function showFacts(classifier: Classifier): void {
  const { info } = classifier;
  const pack = transferred('.beex') ?? info.packBytes;
  const wasm = transferred('.wasm');
  element('fact-pack').textContent = `${kilobytes(pack)} over the wire`;
  element('fact-engine').textContent = wasm ? `${kilobytes(wasm)} over the wire` : 'from the cache';
  element('fact-kernels').textContent = info.kernels === 'simd128' ? 'simd128 (WebAssembly SIMD)' : info.kernels;
  element('fact-memory').textContent = kilobytes(classifier.memory().total);

  // Counted by the browser, not by us: every later fetch, image or script of this page would show.
  const since = performance.now();
  let count = 0;
  const show = () => { element('fact-requests').textContent = String(count); };
  new PerformanceObserver((list) => {
    count += list.getEntries().filter((entry) => entry.startTime > since).length;
    show();
  }).observe({ type: 'resource' });
  show();
}

async function start(): Promise<void> {
  const buttons = EXAMPLES.map((example) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.disabled = true;
    button.textContent = example;
    item.append(button);
    element('examples').append(item);
    return button;
  });
  const progress = element<HTMLProgressElement>('progress');
  try {
    const classifier = await load(sentiment, {
      onProgress: ({ loaded, total }) => { if (total > 0) progress.value = loaded / total; },
    });
    const page = new Page(classifier);
    showFacts(classifier);
    element('loading').hidden = true;
    text.disabled = false;
    text.addEventListener('input', () => page.update());
    slider.addEventListener('input', () => page.update());
    element('form').addEventListener('submit', (event) => event.preventDefault());
    for (const button of buttons) {
      button.disabled = false;
      button.addEventListener('click', () => {
        text.value = button.textContent;
        page.update();
      });
    }
    text.value ||= EXAMPLES[0]!;
    page.update();
  } catch (error) {
    element('loading').hidden = true;
    element('failure').hidden = false;
    element('failure').textContent = error instanceof BeexError ? error.message : `Something went wrong: ${String(error)}`;
    console.error(error);
  }
}

void start();
