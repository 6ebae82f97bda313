// Bytes from wherever they are: network, disk or memory. Every failure is a BeexError that names the place and says what to do.
import { BeexError, describe, tag } from './errors.js';

/** Where a file can come from. In Node, a string that is no URL is a path. */
export type Source = string | URL | Request | Response | Blob | ArrayBufferLike | ArrayBufferView;

/** Where the engine's wasm is. */
export type WasmSource = Source | WebAssembly.Module;

/** @internal */
export interface Loaded {
  bytes: Uint8Array;
  /** Names the source in messages: a URL, a path or "the given bytes". */
  name: string;
  /** Content type, when a server said one. */
  type: string;
}

/** @internal */
export interface ReadOptions {
  /** What is being read, for messages: "pack" or "engine". */
  what: string;
  /** How the user can set it right when the file is not found. */
  advice: string;
  signal?: AbortSignal | undefined;
  /** Called with an answer of the network before its body is read. */
  onResponse?: (response: Response) => void;
  /** Called with the bytes so far after every chunk, so that the reader may know the total before the server says it. */
  onChunk?: (loaded: number, declared: number | undefined, firstBytes: Uint8Array) => void;
}

/** @internal */
export async function readSource(source: unknown, options: ReadOptions): Promise<Loaded> {
  const { signal, what } = options;
  signal?.throwIfAborted();
  if (typeof source === 'string' || tag(source) === 'URL') return readAddress(source as string | URL, options);
  switch (tag(source)) {
    case 'Request':
      return fetchFrom(source as Request, options);
    case 'Response':
      return readResponse(source as Response, options);
    case 'Blob':
    case 'File':
      return inMemory(new Uint8Array(await raceAbort((source as Blob).arrayBuffer(), signal)), 'the given Blob', options);
    case 'ArrayBuffer':
    case 'SharedArrayBuffer':
      return inMemory(new Uint8Array(source as ArrayBufferLike), 'the given data', options);
  }
  if (ArrayBuffer.isView(source)) {
    return inMemory(new Uint8Array(source.buffer, source.byteOffset, source.byteLength), 'the given data', options);
  }
  throw new BeexError('invalid-argument', `The ${what} is ${describe(source)}; ` +
    'give a URL, Request, Response, Blob, ArrayBuffer or Uint8Array.');
}

function inMemory(bytes: Uint8Array, name: string, { onChunk }: ReadOptions): Loaded {
  onChunk?.(bytes.length, bytes.length, bytes);
  return { bytes, name, type: '' };
}

async function readAddress(address: string | URL, options: ReadOptions): Promise<Loaded> {
  const url = absolute(address);
  if (url === undefined ? typeof location === 'undefined' : url.protocol === 'file:') {
    const path = url ?? String(address);
    // Asked of the process, not imported: bundlers for browsers never see a Node module.
    const fs = globalThis.process?.getBuiltinModule?.('node:fs');
    if (fs) {
      let bytes: Uint8Array;
      try {
        bytes = await fs.promises.readFile(path, { signal: options.signal });
      } catch (cause) {
        options.signal?.throwIfAborted();
        const reason = (cause as { code?: string }).code === 'ENOENT' ? 'there is no such file' : (cause as Error).message;
        throw new BeexError('network', `Cannot read the ${options.what} ${path}: ${reason}. ${options.advice}`, { cause });
      }
      return inMemory(bytes, String(path), options);
    }
  }
  return fetchFrom(url ?? address, options);
}

// Undefined for a relative address, and for a Windows path, whose drive looks like a protocol.
function absolute(address: string | URL): URL | undefined {
  if (typeof address !== 'string') return address;
  try {
    const url = new URL(address);
    return url.protocol.length > 2 ? url : undefined;
  } catch {
    return undefined;
  }
}

async function fetchFrom(request: Request | URL | string, options: ReadOptions): Promise<Loaded> {
  const url = tag(request) === 'Request' ? (request as Request).url : String(request);
  let response: Response;
  try {
    response = await fetch(request, options.signal ? { signal: options.signal } : {});
  } catch (cause) {
    options.signal?.throwIfAborted();
    if ((cause as Error)?.name === 'AbortError') throw cause; // the Request's own signal
    throw new BeexError('network', `Cannot fetch the ${options.what} ${url}: ${(cause as Error).message}. ` +
      'Is the server up, and does connect-src of the Content-Security-Policy allow it?', { cause });
  }
  return readResponse(response, options, url);
}

async function readResponse(response: Response, options: ReadOptions, requested = 'the given Response'): Promise<Loaded> {
  const name = response.url || requested;
  const type = response.headers.get('content-type') ?? '';
  if (!response.ok) {
    throw new BeexError('network', `${name} answered ${response.status}${response.statusText && ` ${response.statusText}`} ` +
      `(${type || 'no content type'}) instead of the ${options.what}. ${options.advice}`);
  }
  if (response.bodyUsed) {
    throw new BeexError('invalid-argument', 'The given Response has been read already; pass response.clone().');
  }
  options.onResponse?.(response);
  // With a content encoding, the length is that of the compressed bytes.
  const length = response.headers.has('content-encoding') ? null : response.headers.get('content-length');
  const declared = length === null ? undefined : Number(length);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  const reader = response.body?.getReader();
  try {
    while (reader) {
      const { done, value } = await raceAbort(reader.read(), options.signal);
      if (done) break;
      chunks.push(value);
      loaded += value.length;
      options.onChunk?.(loaded, declared, chunks[0]!);
    }
  } catch (cause) {
    reader?.cancel().catch(() => {});
    options.signal?.throwIfAborted();
    if (!(cause instanceof TypeError) && (cause as Error)?.name !== 'NetworkError') throw cause;
    throw new BeexError('network', `The connection broke after ${loaded} bytes of the ${options.what} ${name}. Try again.`, { cause });
  }
  const bytes = chunks.length === 1 ? chunks[0]! : new Uint8Array(loaded);
  if (chunks.length !== 1) {
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
  }
  return { bytes, name, type };
}

/** The promise, or the signal's reason if that comes first. @internal */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
