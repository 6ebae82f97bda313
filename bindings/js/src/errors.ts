/** What went wrong, as a closed set. The message of the error says what to do about it. */
export type BeexErrorCode =
  | 'invalid-argument' // a value of the wrong type or out of range was passed
  | 'wrong-input' // a pair for a pack of single texts or the other way round; classes or a speed that the pack does not have
  | 'network' // a file could not be fetched or read
  | 'integrity' // the pack's SHA-256 is not the one asked for
  | 'not-a-pack' // the bytes are something else: another kind of file, or a server's error page
  | 'truncated' // the file ends too early
  | 'unsupported-version' // another major version of the format
  | 'unsupported-feature' // the pack needs something that this version of beex does not know
  | 'corrupt' // a checksum does not match
  | 'bad-pack' // the pack breaks a rule of its format
  | 'out-of-memory'
  | 'no-wasm' // this place has no WebAssembly
  | 'csp' // the page's Content-Security-Policy forbids WebAssembly
  | 'wasm-mismatch' // the engine's wasm file is from another build than the JavaScript
  | 'disposed' // the classifier was used after dispose()
  | 'internal'; // a defect in beex

/**
 * The one error class of beex. An aborted call is not an error of beex: it rejects with the signal's reason, as `fetch` does.
 */
export class BeexError extends Error {
  override readonly name = 'BeexError';
  readonly code: BeexErrorCode;

  constructor(code: BeexErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Names a value of the wrong type for a message: `null`, `a number`, `an object (Map)`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'object') return `an object (${tag(value)})`;
  if (typeof value === 'string') return `the string ${JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value)}`;
  if (typeof value === 'number') return `the number ${value}`;
  return `a ${typeof value}`;
}

/**
 * `[object X]`'s X. Unlike `instanceof` it knows objects of other realms (frames, test runners' sandboxes).
 */
export function tag(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
