// What the engine did with a text, step by step: embind.cpp's recording as objects.

/** A word, or a piece of one, where it stands in the text. Offsets count UTF-16 units, as JavaScript strings do. */
export interface TracedWord {
  text: string;
  begin: number;
  end: number;
  /** In a pair, the text it is of. */
  of?: 'a' | 'b';
}

/** What an exit said. */
export interface TracedExit<Label extends string = string> {
  /** 0 before the first block, i after block i. */
  exit: number;
  /** The probability of every label. */
  scores: Record<Label, number>;
  /** Share of the largest possible one: 0 is sure, 1 undecided. */
  entropy: number;
  /** By which share entropy fell since the exit before; negative when it rose. Not at the first exit. */
  reduction?: number;
  microseconds: number;
}

/** What became of a block. */
export interface TracedBlock {
  /** From 1. */
  block: number;
  skipped: boolean;
  /** What the block's skip gate said, between 0 and 1, if it was asked: the larger, the less the block is needed. */
  gate?: number;
  /** Tokens that came in and went out: word pieces, and the two or three that frame a text. */
  tokensIn: number;
  tokensOut: number;
  /** The word pieces that it eliminated. */
  dropped: TracedWord[];
  microseconds: number;
}

/** One window of a text, or a pair. */
export interface TracedWindow<Label extends string = string> {
  words: TracedWord[];
  exits: TracedExit<Label>[];
  blocks: TracedBlock[];
}

/** Everything but the times is the same in every run, and everywhere. */
export interface Trace<Label extends string = string> {
  windows: TracedWindow<Label>[];
}

// The kinds of events in embind.cpp.
const WINDOW = 0;
const BLOCK = 1;

/** @internal */
export function readTrace<Label extends string>(
  record: Uint32Array, labels: readonly Label[], a: string, b: string | undefined,
): Trace<Label> {
  const floats = new Float32Array(record.buffer, record.byteOffset, record.length);
  const windows: TracedWindow<Label>[] = [];
  const inA = charactersOf(a);
  const inB = charactersOf(b ?? '');
  let window!: TracedWindow<Label>;
  let alive: number[] = []; // places in the window, [CLS] and [SEP] included
  let wordAt: (TracedWord | undefined)[] = [];
  let at = 0;
  const word = () => record[at++]!;
  const float = () => floats[at++]!;
  while (at < record.length) {
    const kind = word();
    const microseconds = float();
    if (kind === WINDOW) {
      const firstCount = word();
      const secondCount = word();
      const read = (text: string, place: (byte: number) => number, of: 'a' | 'b'): TracedWord => {
        const begin = place(word());
        const end = place(word());
        return { text: text.slice(begin, end), begin, end, ...(b !== undefined && { of }) };
      };
      const first = Array.from({ length: firstCount }, () => read(a, inA, 'a'));
      const second = Array.from({ length: secondCount }, () => read(b ?? '', inB, 'b'));
      wordAt = [undefined, ...first, undefined, ...(b === undefined ? [] : [...second, undefined])];
      alive = wordAt.map((_, index) => index);
      window = { words: [...first, ...second], exits: [], blocks: [] };
      windows.push(window);
    } else if (kind === BLOCK) {
      const block = word() + 1;
      const skipped = word() !== 0;
      const gate = float();
      const kept = Array.from({ length: word() }, word);
      const left = new Set(kept);
      const dropped = alive.flatMap((place) => (left.has(place) ? [] : wordAt[place] ?? []));
      window.blocks.push({
        block, skipped, ...(gate >= 0 && { gate }), tokensIn: alive.length, tokensOut: kept.length, dropped, microseconds,
      });
      alive = kept;
    } else {
      const exit = word();
      const entropy = float();
      const scores = Object.fromEntries(labels.map((label) => [label, float()])) as Record<Label, number>;
      const before = window.exits.at(-1)?.entropy;
      const reduction = before === undefined ? undefined : before === 0 ? 0 : (before - entropy) / before;
      window.exits.push({ exit, scores, entropy, ...(reduction !== undefined && { reduction }), microseconds });
    }
  }
  return { windows };
}

// From an offset in UTF-8 to one in the string. Offsets mostly rise, so that it goes on from the last one.
function charactersOf(text: string): (byte: number) => number {
  let bytes = 0;
  let place = 0;
  return (byte) => {
    if (byte < bytes) bytes = place = 0;
    while (bytes < byte) {
      const code = text.codePointAt(place)!;
      bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      place += code < 0x10000 ? 1 : 2;
    }
    return place;
  };
}
