/// <reference lib="esnext.disposable" preserve="true" />
import { Engine, type Answer, type EngineModule } from './engine.js';
import { BeexError, describe } from './errors.js';
import { toExitRule, type Exit, type ExitReason, type ExitRule } from './exit_rule.js';
import { choosePolicy, toSpeedPoint, type Policy, type Speed, type SpeedPoint } from './speed.js';
import { readTrace, type Trace } from './trace.js';

/** Two texts that are classified together, for packs whose `info.inputs` is `'pair'`. */
export interface TextPair {
  a: string;
  b: string;
}

export interface ClassifyOptions {
  /** Also give the `topK` likeliest labels, best first, as `top`. */
  topK?: number;
  /** How fast to be. Default: the pack's own exit rule, on every word. */
  speed?: Speed;
  /** When to stop before the last block, in place of a named speed or with another. Default: the pack's own rule. */
  exit?: Exit;
  /** Also give what happened on the way, as `trace`. */
  trace?: boolean;
}

export interface LabelScore<Label extends string = string> {
  label: Label;
  score: number;
}

/** The answer for one text. It is plain data and yours to keep. */
export interface Classification<Label extends string = string> {
  /** The likeliest label. */
  label: Label;
  /** Its calibrated probability. */
  score: number;
  /** The probability of every label. They sum to 1, or are independent of each other in multi-label packs. */
  scores: Record<Label, number>;
  /** Multi-label packs only: all labels whose probability is above the pack's threshold for them, best first. There may be none. */
  labels?: Label[];
  /** The likeliest labels, best first; with the option `topK`. */
  top?: LabelScore<Label>[];
  /** Before temperature and softmax, in the order of `labels`. Of the last window of a long text. */
  logits: Float32Array;
  /** The deepest block that ran (0: none, the words alone answered), of how many, and why it stopped there. */
  exit: { block: number; of: number; reason: ExitReason };
  /** How much was computed, as a share of what `speed: 'full'` takes for this text. */
  work: number;
  /** Word pieces in the text; of one that a budget cut, those that were read. */
  tokens: number;
  /** Overlapping windows in which a long text was read; their calibrated logits were averaged, by length. */
  windows: number;
  /** True when a pair was too long and its longer text was cut, or a budget ended before all windows of a text were read. */
  truncated: boolean;
  /** What happened on the way; with the option `trace`. */
  trace?: Trace<Label>;
}

export interface RankedClassification<Label extends string = string> extends Classification<Label> {
  top: LabelScore<Label>[];
}

export interface TracedClassification<Label extends string = string> extends Classification<Label> {
  trace: Trace<Label>;
}

type AnswerFor<Label extends string, Options> = Classification<Label>
  & (Options extends { topK: number } ? RankedClassification<Label> : unknown)
  & (Options extends { trace: true } ? TracedClassification<Label> : unknown);

/** What a pack is. */
export interface PackInfo {
  /** The pack's description of itself: name, licence, data, metrics, … as its maker wrote them. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** What `classify` takes: a text or a pair of texts. */
  readonly inputs: 'text' | 'pair';
  /** What the pack answers: one label, any number of labels, or (`features`) nothing but the vectors of `embed`. */
  readonly task: 'single-label' | 'multi-label' | 'features';
  readonly blocks: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly vocabularySize: number;
  /** Word pieces in one window, with the two that frame a text. */
  readonly maxTokens: number;
  /** The rule behind `exit: 'default'`; undefined when the pack runs every block. */
  readonly exitRule: ExitRule | undefined;
  /** The settings that are worth choosing, slowest and most accurate last; none in a pack without a speed curve. */
  readonly speeds: readonly SpeedPoint[];
  /** Whether the pack can leave out words, and blocks, on the way. */
  readonly elimination: boolean;
  readonly skipGates: boolean;
  /** The implementation that runs: `simd128` or `scalar`. */
  readonly kernels: string;
  readonly packBytes: number;
}

/** Bytes that a classifier holds. */
export interface Memory {
  /** WebAssembly memory, all in all. */
  total: number;
  /** Of it, the classifier: pack, tables and work memory. */
  classifier: number;
}

/**
 * A loaded pack. Classifying is synchronous, needs no network and allocates nothing in the engine. Memory is given back once
 * the classifier is disposed of, or forgotten.
 */
export class Classifier<Label extends string = string> {
  /** The labels in the order of `logits`; none in packs of features. */
  readonly labels: readonly Label[];
  readonly info: PackInfo;
  readonly #policies = new Map<string, Policy>();
  #engine: Engine | undefined;

  private constructor(engine: Engine, packBytes: number) {
    const { facts } = engine;
    this.#engine = engine;
    this.labels = Object.freeze(facts.labels.split('\n').slice(0, facts.classes)) as readonly Label[];
    this.info = Object.freeze({
      metadata: parseMetadata(facts.metadata),
      inputs: facts.inputs === 2 ? 'pair' : 'text',
      task: facts.task,
      blocks: facts.blocks,
      hiddenSize: facts.hiddenSize,
      heads: facts.heads,
      vocabularySize: facts.vocabularySize,
      maxTokens: facts.maxTokens,
      exitRule: toExitRule(facts.rule),
      speeds: Object.freeze(facts.curve.map(toSpeedPoint)),
      elimination: facts.elimination > 1,
      skipGates: facts.skipWidth > 0,
      kernels: facts.kernels,
      packBytes,
    });
  }

  /** @internal */
  static create<Label extends string>(module: EngineModule, pack: Uint8Array): Classifier<Label> {
    return new Classifier<Label>(new Engine(module, pack), pack.length);
  }

  /**
   * Classifies a text, a pair of texts, or a list of them. Each text of a list costs what it costs alone: nothing is padded.
   */
  classify<const Options extends ClassifyOptions = ClassifyOptions>(
    input: string | TextPair, options?: Options): AnswerFor<Label, Options>;
  classify<const Options extends ClassifyOptions = ClassifyOptions>(
    inputs: readonly (string | TextPair)[], options?: Options): AnswerFor<Label, Options>[];
  classify(input: string | TextPair | readonly (string | TextPair)[], options: ClassifyOptions = {}):
    Classification<Label> | Classification<Label>[] {
    const engine = this.#live();
    if (typeof options !== 'object' || options === null) {
      throw new BeexError('invalid-argument', `The options are ${describe(options)}, not an object.`);
    }
    if (this.info.task === 'features') {
      throw new BeexError('wrong-input', 'This pack has no classes: it turns texts into vectors. Use embed().');
    }
    const policy = this.#policy(engine, options);
    const { topK, trace = false } = options;
    if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) {
      throw new BeexError('invalid-argument', `The option topK is ${describe(topK)}, not a whole number of at least 1.`);
    }
    if (typeof trace !== 'boolean') throw new BeexError('invalid-argument', `The option trace is ${describe(trace)}, not a boolean.`);
    const texts: string[] = [];
    if (Array.isArray(input)) {
      for (const [index, each] of input.entries()) this.#take(each, `Input ${index}`, texts);
    } else {
      this.#take(input, 'The input', texts);
    }
    const { inputs } = engine.facts;
    const results = engine.classify(texts, policy, trace).map((answer, index) => {
      const result = this.#result(answer, topK);
      if (trace) result.trace = readTrace(answer.trace, this.labels, texts[index * inputs]!, inputs === 2 ? texts[index * 2 + 1] : undefined);
      return result;
    });
    return Array.isArray(input) ? results : results[0]!;
  }

  /**
   * Turns a text, or each of a list, into a vector of `info.hiddenSize` numbers and of length 1: texts that are alike get vectors
   * whose dot product is large. All blocks run. Takes any pack for single texts; one of features is made for it.
   */
  embed(text: string): Float32Array;
  embed(texts: readonly string[]): Float32Array[];
  embed(input: string | readonly string[]): Float32Array | Float32Array[] {
    const engine = this.#live();
    if (this.info.inputs === 'pair') {
      throw new BeexError('wrong-input', 'This pack compares two texts; only a pack for single texts turns a text into a vector.');
    }
    const embed = (text: unknown, which: string) => {
      if (typeof text !== 'string') throw new BeexError('invalid-argument', `${which} is ${describe(text)}; give a string.`);
      return engine.embed(text);
    };
    return Array.isArray(input) ? input.map((each, index) => embed(each, `Input ${index}`)) : embed(input, 'The input');
  }

  /** Bytes held now. */
  memory(): Memory {
    const engine = this.#live();
    return { total: engine.heapSize, classifier: engine.facts.memory };
  }

  /**
   * A hash of what the engine here computes in a self-test of a few milliseconds: the same 8 hexadecimal digits in every browser and
   * in Node, with SIMD or without, in every build of a version. Another one means that this machine computes wrongly.
   */
  fingerprint(): string {
    return this.#live().fingerprint();
  }

  /** Gives all memory back. The classifier cannot be used afterwards; disposing twice is fine. */
  dispose(): void {
    this.#engine = undefined;
  }

  static {
    // Where the symbol is missing, `using` is too.
    if (Symbol.dispose) this.prototype[Symbol.dispose] = this.prototype.dispose;
  }

  #live(): Engine {
    if (!this.#engine) throw new BeexError('disposed', 'This classifier has been disposed of; load the pack again.');
    return this.#engine;
  }

  // What text says is read once.
  #policy(engine: Engine, { speed, exit }: ClassifyOptions): Policy {
    const choose = () => choosePolicy(speed, exit, engine.facts, (speedup) => engine.gammaFor(speedup));
    if (typeof (speed ?? '') !== 'string' || typeof (exit ?? '') !== 'string') return choose();
    const key = `${speed} ${exit}`;
    let policy = this.#policies.get(key);
    if (!policy) {
      policy = choose();
      this.#policies.set(key, policy);
    }
    return policy;
  }

  // Checks an input and appends its text, or the two of a pair.
  #take(input: unknown, which: string, texts: string[]): void {
    if (typeof input === 'string') {
      if (this.info.inputs === 'pair') {
        throw new BeexError('wrong-input', `${which} is one text, but this pack compares two: classify({ a: 'first', b: 'second' }).`);
      }
      texts.push(input);
      return;
    }
    const { a, b } = (input ?? {}) as Partial<TextPair>;
    if (typeof a !== 'string' || typeof b !== 'string') {
      throw new BeexError('invalid-argument', `${which} is ${describe(input)}; give a string, or { a, b } with two strings.`);
    }
    if (this.info.inputs === 'text') {
      throw new BeexError('wrong-input', `${which} is a pair, but this pack takes single texts: classify('a text').`);
    }
    texts.push(a, b);
  }

  #result(answer: Answer, topK: number | undefined): Classification<Label> {
    const { probabilities } = answer;
    const result: Classification<Label> = {
      label: this.labels[answer.label]!,
      score: probabilities[answer.label]!,
      scores: Object.fromEntries(this.labels.map((label, index) => [label, probabilities[index]!])) as Record<Label, number>,
      ...(this.info.task === 'multi-label' && { labels: Array.from(answer.labels, (index) => this.labels[index]!) }),
      logits: answer.logits,
      exit: { block: answer.exitBlock, of: this.info.blocks, reason: answer.reason },
      work: answer.work,
      tokens: answer.tokens,
      windows: answer.windows,
      truncated: answer.truncated,
    };
    if (topK !== undefined) {
      result.top = this.labels
        .map((label, index) => ({ label, score: probabilities[index]! }))
        .sort((x, y) => y.score - x.score)
        .slice(0, topK);
    }
    return result;
  }
}

export interface Classifier<Label extends string = string> {
  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

// For people, so that a pack with broken metadata still works.
function parseMetadata(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
