// The raw engine: finds, compiles and starts the wasm, and speaks with bindings/embind.cpp.
import createModule from 'beex-engine-glue';
import { BeexError, tag, type BeexErrorCode } from './errors.js';
import { REASONS, type ExitReason, type RuleWords } from './exit_rule.js';
import { policyOf, SPEED_NAMES, type CurveRow, type Policy } from './speed.js';
import { raceAbort, readSource, type WasmSource } from './source.js';

declare const __BUILD_ID__: string; // set by build.mjs, which writes the same into a section of the wasm files

/** What `createModule` gives: the surface of embind.cpp. The views are new ones after memory grew. */
export interface EngineModule {
  readonly HEAPU8: Uint8Array;
  readonly HEAPU32: Uint32Array;
  readonly HEAPF32: Float32Array;
  reservePack(size: number): number;
  reserveInput(size: number): number;
  load(): number;
  classify(count: number): number;
  embed(): number;
  gammaFor(speedup: number): number;
  message(): number;
  facts(): number;
  fingerprint(): number;
}

// The order of beex::Status.
const CODES: readonly (BeexErrorCode | undefined)[] = [undefined, 'not-a-pack', 'truncated', 'unsupported-version',
  'unsupported-feature', 'corrupt', 'bad-pack', 'bad-pack', 'out-of-memory', 'wrong-input', 'internal'];

/** In the order of beex::Task. */
const TASKS = ['single-label', 'multi-label', 'features'] as const;
/** In the order of beex::SlfnForm. */
const SLFN_FORMS = ['open', 'bounded', 'rectified'] as const;

/** Facts of a loaded pack, as embind.cpp's `Facts`. */
export interface Facts {
  inputs: number;
  task: (typeof TASKS)[number];
  classes: number;
  vocabularySize: number;
  hiddenSize: number;
  blocks: number;
  heads: number;
  slfnSize: number;
  maxTokens: number;
  embeddingBits: number;
  positionBits: number;
  slfnForm: (typeof SLFN_FORMS)[number];
  pooling: 'mean' | 'cls';
  foldCase: boolean;
  memory: number;
  rule: RuleWords;
  /** 0 without skip gates. */
  skipWidth: number;
  /** How many times as fast it can make the whole network; 1 without it. */
  elimination: number;
  labels: string;
  metadata: string;
  kernels: string;
  /** Where embind.cpp's `Settings` and answers are, as indices of words; words from one answer to the next; the most texts of a call. */
  settings: number;
  answers: number;
  answerWords: number;
  batch: number;
  /** The settings worth choosing, work rising; [] without a curve. */
  curve: CurveRow[];
}

/** As embind.cpp's `Answer`; the arrays are copies. */
export interface Answer {
  label: number;
  exitBlock: number;
  reason: ExitReason;
  tokens: number;
  windows: number;
  truncated: boolean;
  probabilities: Float32Array;
  logits: Float32Array;
  labels: Uint32Array;
  work: number;
  /** As bindings/trace.h writes it; empty unless it was asked for. */
  trace: Uint32Array;
}

// Words of embind.cpp's `Answer` before its arrays.
const ANSWER_HEAD = 10;

// The most UTF-8 bytes of texts that go into one call, unless one text alone has more.
const BATCH_BYTES = 65536;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** One instance of the wasm with one pack in it. All of its memory goes when it is forgotten. */
export class Engine {
  readonly facts: Facts;
  readonly #module: EngineModule;
  #input = 0;
  #inputSize = 0;

  /** Copies the pack into the engine and has it checked. */
  constructor(module: EngineModule, pack: Uint8Array) {
    this.#module = module;
    const address = module.reservePack(pack.length);
    if (address === 0 && pack.length > 0) {
      throw new BeexError('out-of-memory', `There is no memory for a pack of ${pack.length} bytes.`);
    }
    module.HEAPU8.set(pack, address);
    this.#check(module.load());
    this.facts = this.#readFacts();
  }

  /** Bytes of wasm memory. */
  get heapSize(): number {
    return this.#module.HEAPU8.length;
  }

  fingerprint(): string {
    return fingerprintOf(this.#module);
  }

  /** The answers for texts, in a pack for pairs for every two of them. One call of the engine for many. */
  classify(texts: readonly string[], policy: Policy, trace: boolean): Answer[] {
    const { inputs } = this.facts;
    const batch = trace ? 1 : this.facts.batch; // one trace a call
    const answers: Answer[] = [];
    for (let from = 0; from < texts.length;) {
      let to = from, characters = 0;
      do {
        for (const end = to + inputs; to < end; to++) characters += texts[to]!.length;
      } while (to < texts.length && to - from < batch * inputs && 3 * (characters + texts[to]!.length) < BATCH_BYTES);
      this.#write(texts, from, to, characters);
      this.#set(policy, trace);
      const count = (to - from) / inputs;
      this.#check(this.#module.classify(count));
      for (let i = 0; i < count; i++) answers.push(this.#readAnswer(this.facts.answers + i * this.facts.answerWords));
      from = to;
    }
    return answers;
  }

  /** How strongly to eliminate, for the whole network to be so many times as fast. At most as fast as the facts say. */
  gammaFor(speedup: number): number {
    return this.#module.gammaFor(speedup);
  }

  embed(text: string): Float32Array {
    this.#write([text], 0, 1, text.length);
    this.#check(this.#module.embed());
    return this.#module.HEAPF32.slice(this.facts.answers, this.facts.answers + this.facts.hiddenSize);
  }

  // Writes texts of so many characters in all as embind.cpp's `classify` wants them. Lone surrogates become U+FFFD.
  #write(texts: readonly string[], from: number, to: number, characters: number): void {
    const most = 4 * (to - from) + 3 * characters;
    if (most > this.#inputSize) {
      const size = Math.max(4096, most);
      this.#input = size < 2 ** 32 ? this.#module.reserveInput(size) : 0;
      this.#inputSize = this.#input === 0 ? 0 : size;
      if (this.#input === 0) {
        throw new BeexError('out-of-memory', `There is no memory for a text of ${characters} characters; cut it into parts.`);
      }
    }
    const { HEAPU8: u8, HEAPU32: u32 } = this.#module;
    const end = this.#input + this.#inputSize;
    let at = this.#input + 4 * (to - from);
    for (let i = from; i < to; i++) {
      const { written } = encoder.encodeInto(texts[i]!, u8.subarray(at, end));
      u32[(this.#input >> 2) + i - from] = written;
      at += written;
    }
  }

  // In the order of embind.cpp's `Settings`.
  #set({ rule, gamma, skipThreshold, budget }: Policy, trace: boolean): void {
    const at = this.facts.settings;
    const { HEAPU32: u32, HEAPF32: f32 } = this.#module;
    u32[at] = rule.kind;
    f32.set([rule.threshold, rule.certain, rule.uncertain], at + 1);
    u32.set([rule.first, Number(rule.keepLowerEntropy)], at + 4);
    f32.set([gamma, skipThreshold, budget], at + 6);
    u32[at + 9] = Number(trace);
  }

  #readAnswer(at: number): Answer {
    const { HEAPU32: u32, HEAPF32: f32 } = this.#module;
    const { classes } = this.facts;
    const floats = at + ANSWER_HEAD, labels = floats + 2 * classes;
    return {
      label: u32[at]!,
      exitBlock: u32[at + 1]!,
      reason: REASONS[u32[at + 2]!]!,
      tokens: u32[at + 3]!,
      windows: u32[at + 4]!,
      truncated: u32[at + 5] !== 0,
      probabilities: f32.slice(floats, floats + classes),
      logits: f32.slice(floats + classes, labels),
      labels: u32.slice(labels, labels + u32[at + 6]!),
      work: f32[at + 7]!,
      trace: u32.slice(u32[at + 8]! >> 2, (u32[at + 8]! >> 2) + u32[at + 9]!),
    };
  }

  #check(status: number): void {
    if (status === 0) return;
    const heap = this.#module.HEAPU8;
    const begin = this.#module.message();
    const message = decoder.decode(heap.slice(begin, heap.indexOf(0, begin)));
    throw new BeexError(CODES[status] ?? 'internal', message);
  }

  #readFacts(): Facts {
    const { HEAPU8: u8, HEAPU32: u32, HEAPF32: f32 } = this.#module;
    let at = this.#module.facts() >> 2;
    const word = () => u32[at++]!;
    const float = () => f32[at++]!;
    const text = () => {
      const begin = word();
      return decoder.decode(u8.slice(begin, begin + word()));
    };
    const rule = () => ({
      kind: word(), threshold: float(), certain: float(), uncertain: float(), first: word(), keepLowerEntropy: word() !== 0,
    });
    const curveRow = (): CurveRow => {
      const [work, accuracy] = [float(), float()];
      const policy = { ...policyOf(rule()), gamma: float(), skipThreshold: float() };
      at += 2; // budget and trace, which no pack says
      return { work, accuracy, policy, name: SPEED_NAMES[word()] };
    };
    return {
      inputs: word(), task: TASKS[word()]!, classes: word(), vocabularySize: word(), hiddenSize: word(), blocks: word(), heads: word(),
      slfnSize: word(), maxTokens: word(), embeddingBits: word(), positionBits: word(),
      slfnForm: SLFN_FORMS[word()]!, pooling: word() === 0 ? 'mean' : 'cls', foldCase: word() !== 0,
      memory: word(),
      rule: rule(), skipWidth: word(), elimination: float(),
      labels: text(), metadata: text(), kernels: text(),
      settings: word() >> 2, answers: word() >> 2, answerWords: word(), batch: word(),
      curve: Array.from({ length: word() }, curveRow),
    };
  }
}

/** The hash of the engine's self-test, 8 hexadecimal digits. */
export function fingerprintOf(module: EngineModule): string {
  const hash = module.fingerprint() >>> 0;
  if (hash === 0) throw new BeexError('out-of-memory', 'There is no memory for the self-test of the engine, 200 kB.');
  return hash.toString(16).padStart(8, '0');
}

/** Starts an engine with its own memory from compiled wasm. */
export async function instantiate(wasm: WebAssembly.Module): Promise<EngineModule> {
  // The glue's promise would hang when the hook fails, so that the failure goes around it.
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown) => reject(isCsp(cause) ? cspError(cause) : new BeexError('wasm-mismatch',
      `The engine's wasm does not fit this JavaScript (${(cause as Error).message}). ${SAME_BUILD}`, { cause }));
    createModule({
      instantiateWasm(imports, done) {
        WebAssembly.instantiate(wasm, imports).then((instance) => done(instance, wasm)).catch(failed);
        return {};
      },
    }).then(resolve, failed);
  });
}

const SAME_BUILD = 'Serve engine.wasm and engine.scalar.wasm from the same release as the JavaScript, and clear caches.';
const COPY_WASM = 'Copy engine.wasm and engine.scalar.wasm from the package\'s dist folder next to your bundle, ' +
  'or pass their place as the option wasm.';
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/**
 * The compiled engine. What has an address is compiled once for all callers; a failure is forgotten, so that the next call
 * tries again.
 */
export async function compileEngine(
  source: WasmSource | undefined, simd: boolean, signal: AbortSignal | undefined,
): Promise<WebAssembly.Module> {
  if (typeof WebAssembly === 'undefined') {
    throw new BeexError('no-wasm', 'There is no WebAssembly here, and beex needs it. Lockdown Mode of iOS switches it off.');
  }
  if (tag(source) === 'WebAssembly.Module') return checkBuild(source as WebAssembly.Module, 'the given module');
  if (source !== undefined && typeof source !== 'string' && tag(source) !== 'URL') return compile(source, signal);

  const address = source ?? defaultUrl(simd);
  let module = compiled.get(String(address));
  if (!module) {
    // Without the caller's signal: others may be waiting for the same module.
    module = compile(address, undefined);
    compiled.set(String(address), module);
    module.catch(() => compiled.delete(String(address)));
  }
  return raceAbort(module, signal);
}

// Bundlers look for exactly these two expressions.
function defaultUrl(simd: boolean): URL {
  return simd && hasSimd()
    ? new URL('./engine.wasm', import.meta.url)
    : new URL('./engine.scalar.wasm', import.meta.url);
}

// (func (result v128) i32.const 0; i8x16.splat; i8x16.popcnt): a module that validates where there is 128-bit SIMD.
const SIMD_PROBE = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
  253, 15, 253, 98, 11]);

function hasSimd(): boolean {
  return WebAssembly.validate(SIMD_PROBE);
}

async function compile(source: unknown, signal: AbortSignal | undefined): Promise<WebAssembly.Module> {
  // Compiled as it comes, where the server says that it is WebAssembly. Whatever goes wrong on that way, the bytes tell what it was.
  let streamed: Promise<WebAssembly.Module | undefined> | undefined;
  const onResponse = (response: Response) => {
    if (!/^application\/wasm$/i.test(response.headers.get('content-type') ?? '')) return;
    streamed = WebAssembly.compileStreaming?.(response.clone()).catch(() => undefined);
  };
  const { bytes, name, type } = await readSource(source, { what: 'engine', advice: COPY_WASM, signal, onResponse });
  if (!(bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d)) {
    throw new BeexError('network', `${name} is not WebAssembly${type && ` but ${type}`}. ` +
      `Servers that answer every path with a page do this. ${COPY_WASM}`);
  }
  let module: WebAssembly.Module;
  try {
    module = await streamed ?? await WebAssembly.compile(bytes as BufferSource);
  } catch (cause) {
    if (isCsp(cause)) throw cspError(cause);
    throw new BeexError('wasm-mismatch', `${name} is damaged (${(cause as Error).message}). ${SAME_BUILD}`, { cause });
  }
  return checkBuild(module, name);
}

function checkBuild(module: WebAssembly.Module, name: string): WebAssembly.Module {
  const [section] = WebAssembly.Module.customSections(module, 'beex.build');
  const build = section ? decoder.decode(section) : 'unknown';
  if (build === __BUILD_ID__) return module;
  throw new BeexError('wasm-mismatch',
    `The JavaScript is beex build ${__BUILD_ID__}, but ${name} is build ${build}. ${SAME_BUILD}`);
}

function isCsp(cause: unknown): boolean {
  return /unsafe-eval|content security policy|\bCSP\b/i.test((cause as Error | undefined)?.message ?? '');
}

function cspError(cause: unknown): BeexError {
  return new BeexError('csp', 'The page\'s Content-Security-Policy forbids WebAssembly. ' +
    'Add \'wasm-unsafe-eval\' to its script-src: script-src \'self\' \'wasm-unsafe-eval\'.', { cause });
}
