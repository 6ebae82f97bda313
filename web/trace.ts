// Draws what the engine did with a text: block by block the words that were left, and what the exit behind it said.
import type { Trace, TracedBlock, TracedExit, TracedWindow, TracedWord } from 'beex';

const percent = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 0 });
const share = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });
const time = (microseconds: number) => `${Math.round(microseconds).toLocaleString('en')} µs`;

function make(tag: string, className: string, content = ''): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

/** Fills `list` with the steps of the first window of `text`, and says so where there are more. */
export function drawTrace(list: HTMLElement, text: string, trace: Trace): void {
  const window = trace.windows[0]!;
  const gone = new Set<TracedWord>();
  const steps = [step('Words', exitText(window.exits[0]), text, window, gone, [])];
  for (const block of window.blocks) {
    const exit = window.exits.find((each) => each.exit === block.block);
    const facts = [blockText(block), exitText(exit)].filter(Boolean).join('; ');
    steps.push(step(`Block ${block.block}`, facts, text, window, gone, block.dropped));
    for (const word of block.dropped) gone.add(word);
  }
  if (trace.windows.length > 1) steps.push(make('li', 'hint', `This was the first of ${trace.windows.length} windows.`));
  list.replaceChildren(...steps);
}

function step(
  title: string, facts: string, text: string, window: TracedWindow, gone: ReadonlySet<TracedWord>, going: readonly TracedWord[],
): HTMLElement {
  const item = make('li', '');
  const head = make('div', 'step');
  head.append(make('strong', '', title), make('span', 'hint', facts));
  const words = make('div', 'words');
  let at = window.words[0]?.begin ?? 0;
  const leaving = new Set(going);
  for (const word of window.words) {
    words.append(text.slice(at, word.begin));
    words.append(make('span', gone.has(word) ? 'gone' : leaving.has(word) ? 'going' : '', text.slice(word.begin, word.end)));
    at = word.end;
  }
  item.append(head, words);
  return item;
}

function blockText({ skipped, gate, tokensIn, tokensOut, microseconds }: TracedBlock): string {
  if (skipped) return `skipped by its gate (${share.format(gate ?? 0)})`;
  const tokens = tokensIn === tokensOut ? `${tokensIn} tokens` : `${tokensIn} tokens in, ${tokensOut} out`;
  return `${tokens}, ${time(microseconds)}`;
}

function exitText(exit: TracedExit | undefined): string {
  if (!exit) return '';
  const [label, score] = Object.entries(exit.scores).reduce((best, each) => (each[1] > best[1] ? each : best));
  const change = exit.reduction === undefined ? ''
    : exit.reduction >= 0 ? `, ${percent.format(exit.reduction)} less than before` : `, ${percent.format(-exit.reduction)} more than before`;
  return `${label} ${share.format(score)}, entropy ${percent.format(exit.entropy)}${change}`;
}
