import { Classifier } from './classifier.js';
import { compileEngine, fingerprintOf, instantiate, type EngineModule } from './engine.js';
import { BeexError, describe } from './errors.js';
import { readSource, raceAbort, type Loaded, type Source, type WasmSource } from './source.js';

export { BeexError, type BeexErrorCode } from './errors.js';
export { formatExitRule, type Exit, type ExitReason, type ExitRule, type ExitRuleText } from './exit_rule.js';
export { Classifier } from './classifier.js';
export type {
  Classification, ClassifyOptions, LabelScore, Memory, PackInfo, RankedClassification, TextPair, TracedClassification,
} from './classifier.js';
export type { Source, WasmSource } from './source.js';
export type { Speed, SpeedName, SpeedPoint } from './speed.js';
export type { Trace, TracedBlock, TracedExit, TracedWindow, TracedWord } from './trace.js';

export interface Progress {
  /** `download` the pack, `compile` the engine, `verify` the pack's checksums and prepare it, `ready`. */
  phase: 'download' | 'compile' | 'verify' | 'ready';
  /** Bytes of the pack so far. */
  loaded: number;
  /** Bytes of the whole pack: from its header, so that it is right for compressed answers too. 0 until that is known. */
  total: number;
}

export interface LoadOptions {
  /** Stops loading; `load` then rejects with the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** The pack's hash as in HTML's `integrity` attribute: `sha256-` and base64. Checked before the pack is used. */
  integrity?: string;
  /** The engine, if it is not next to the JavaScript: an address, bytes or a compiled module. */
  wasm?: WasmSource;
  /** `false` takes the engine without SIMD even where SIMD works. The answers are the same to the last bit. Default true. */
  simd?: boolean;
}

/**
 * Loads a pack. Name its labels as a type argument to have them checked: `load<'positive' | 'negative'>(url)`.
 *
 * Rejects with a BeexError, or with the signal's reason.
 */
export async function load<Label extends string = string>(
  source: Source, options: LoadOptions = {},
): Promise<Classifier<Label>> {
  if (typeof options !== 'object' || options === null) {
    throw new BeexError('invalid-argument', `The options are ${describe(options)}, not an object.`);
  }
  const { signal, integrity } = options;
  signal?.throwIfAborted();
  const digest = integrity === undefined ? undefined : parseIntegrity(integrity);
  const report = (phase: Progress['phase'], loaded: number, total: number) => options.onProgress?.({ phase, loaded, total });

  // Both at once: neither waits for the other's network, and the engine is up before most packs are there.
  const [pack, module] = await Promise.all([
    readPack(source, report, signal).then((loaded) => {
      report('compile', loaded.bytes.length, loaded.bytes.length);
      return loaded;
    }),
    startEngine(options),
  ]);
  const size = pack.bytes.length;
  report('verify', size, size);
  if (digest) await verify(pack, digest, signal);
  const classifier = Classifier.create<Label>(module, pack.bytes);
  report('ready', size, size);
  return classifier;
}

/** The `fingerprint` of a classifier, without a pack. Rejects with a BeexError, or with the signal's reason. */
export async function fingerprint(options: Pick<LoadOptions, 'signal' | 'wasm' | 'simd'> = {}): Promise<string> {
  options.signal?.throwIfAborted();
  return fingerprintOf(await startEngine(options));
}

async function startEngine({ signal, wasm, simd }: Pick<LoadOptions, 'signal' | 'wasm' | 'simd'>): Promise<EngineModule> {
  return raceAbort(instantiate(await compileEngine(wasm, simd !== false, signal)), signal);
}

async function readPack(
  source: Source, report: (phase: 'download', loaded: number, total: number) => void, signal: AbortSignal | undefined,
): Promise<Loaded> {
  const pack = await readSource(source, {
    what: 'pack',
    advice: 'Is the address right, and was the .beex file copied to the server?',
    signal,
    onChunk: (loaded, declared, first) => report('download', loaded, fileSize(first) ?? declared ?? 0),
  });
  if (!isPack(pack.bytes)) {
    const found = pack.bytes.length === 0 ? 'is empty' : `${pack.type ? `is ${pack.type}` : 'is something else'}, not a beex pack`;
    throw new BeexError('not-a-pack', `${pack.name} ${found}: a pack starts with the letters BEEX. ` +
      'Servers that answer every path with a page do this when the file is missing.');
  }
  return pack;
}

function isPack(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x45 && bytes[2] === 0x45 && bytes[3] === 0x58;
}

// The header says the size (FORMAT.md, "Container").
function fileSize(first: Uint8Array): number | undefined {
  if (first.length < 24 || !isPack(first)) return undefined;
  return Number(new DataView(first.buffer, first.byteOffset).getBigUint64(16, true));
}

function parseIntegrity(integrity: string): string {
  if (typeof integrity !== 'string' || !/^sha256-[A-Za-z0-9+/]{43}=$/.test(integrity)) {
    throw new BeexError('invalid-argument',
      `The option integrity is ${describe(integrity)}; it is "sha256-" and the base64 of the 32 bytes.`);
  }
  return integrity;
}

async function verify(pack: Loaded, expected: string, signal: AbortSignal | undefined): Promise<void> {
  if (!globalThis.crypto?.subtle) {
    throw new BeexError('integrity',
      'The pack cannot be verified: browsers offer crypto.subtle only to pages served over HTTPS or from localhost.');
  }
  const hash = new Uint8Array(await raceAbort(crypto.subtle.digest('SHA-256', pack.bytes as BufferSource), signal));
  const found = `sha256-${btoa(String.fromCharCode(...hash))}`;
  if (found !== expected) {
    throw new BeexError('integrity', `${pack.name} is ${found}, but integrity asks for ${expected}. ` +
      'It was changed, or the option is out of date.');
  }
}
