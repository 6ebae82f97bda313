#!/usr/bin/env node
// The command line: `beex classify`, `beex embed` and `beex info`. Results go to stdout, everything else to stderr.
// Exit status: 0 done, 1 something failed (a file, a line of input), 2 wrong usage.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import {
  BeexError, fingerprint, formatExitRule, load, type Classification, type Classifier, type ClassifyOptions, type Exit, type RankedClassification, type TextPair,
} from './index.js';
import { parseExit, shortest } from './exit_rule.js';
import { parseSpeed } from './speed.js';

declare const __VERSION__: string; // set by build.mjs

const HELP = `Usage:
  beex classify --pack FILE [options]   classify texts, one a line, from stdin or a file
  beex embed --pack FILE [options]      turn texts into vectors of unit length: {"embedding": [0.1, …]} a line
  beex info FILE                        what a pack is
  beex --fingerprint                    the hash of the engine's self-test, the same on every machine
  beex --help | --version

Options of classify and embed:
  --input FILE            read this file instead of stdin
  --input-format FORMAT   text   one text a line; for packs of pairs, two texts with a tab between them (default)
                          jsonl  one JSON object a line: {"text": "…"} or {"a": "…", "b": "…"}

Options of classify:
  --format FORMAT         text   label, percent and text (default); every label of a multi-label answer, – when it has none
                          jsonl  one JSON object a line: label, score, scores, labels of a multi-label answer, exit, work (share of
                                 what --speed full takes) and us (microseconds that this text took)
                          tsv    label, score, exit block and text, with tabs between them; labels of a multi-label answer
                                 with | between them, and the score of the likeliest label
  --speed SPEED           full   every block on every word
                          accurate  balanced  fast   the pack's settings of that name
                          3x     three times as fast as full, by the work that texts take on average
                          0.5ms  half a millisecond at most for a text
                          default: the pack's own exit rule
  --exit RULE             in place of a speed, or with one like 2x (by leaving out words alone, then) or 0.5ms:
                          default  the pack's own rule (default)
                          off      run every block
                          fractional:0.05  entropy:0.3  patience:2  probability:0.95
                          and then, if wished, ,certain=0.05 ,uncertain=0.9 ,first=1 ,keep-lower-entropy
  --top-k N               also give the N likeliest labels (text, jsonl)

Results come in the order of the input, each as soon as it is known. A line that cannot be read ends the run with status 1.
`;

class UsageError extends Error {}

type Input = string | TextPair;
type Answered = Classification | RankedClassification;

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) return void process.stdout.write(HELP);
  if (values.version) return void process.stdout.write(`${__VERSION__}\n`);
  if (values.fingerprint) return print(`${await fingerprint()}\n`);
  const [command, ...rest] = positionals;
  if (command === 'classify') {
    if (rest.length > 0) throw new UsageError(`classify takes its texts from stdin or --input, not from "${rest[0]}"`);
    await classify(values);
  } else if (command === 'embed') {
    if (rest.length > 0) throw new UsageError(`embed takes its texts from stdin or --input, not from "${rest[0]}"`);
    await embed(values);
  } else if (command === 'info') {
    if (rest.length !== 1) throw new UsageError('info takes one pack file');
    await info(rest[0]!);
  } else {
    throw new UsageError(command === undefined ? 'a command is missing' : `there is no command "${command}"`);
  }
}

type Values = ReturnType<typeof parse>['values'];

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        pack: { type: 'string' },
        input: { type: 'string' },
        'input-format': { type: 'string', default: 'text' },
        format: { type: 'string' },
        speed: { type: 'string' },
        exit: { type: 'string' },
        'top-k': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
        fingerprint: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  if (!(allowed as readonly string[]).includes(value)) {
    throw new UsageError(`--${name} is "${value}"; it is one of ${allowed.join(', ')}`);
  }
  return value as T;
}

async function classify(values: Values): Promise<void> {
  const format = oneOf('format', values.format ?? 'text', ['text', 'jsonl', 'tsv']);
  const topK = values['top-k'] === undefined ? undefined : Number(values['top-k']);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) {
    throw new UsageError(`--top-k is "${values['top-k']}"; it is a whole number of at least 1`);
  }
  const exit = (values.exit ?? 'default') as Exit;
  try {
    if (exit !== 'default') parseExit(exit);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }

  const speed = values.speed === undefined ? undefined : parseSpeed(values.speed);
  if (speed !== undefined && values.exit !== undefined && typeof speed === 'string') {
    throw new UsageError('--speed and --exit both say when to stop; give one of them, or a speed like 2x or 0.5ms');
  }

  const options: ClassifyOptions = {
    ...(speed !== undefined && { speed }), ...(values.exit !== undefined && { exit }), ...(topK !== undefined && { topK }),
  };
  await answerLines(values, (classifier) => {
    if (classifier.info.task === 'features') throw new Error('this pack has no classes: use beex embed');
    const write = { text: textWriter(classifier.labels), jsonl: writeJson, tsv: writeTsv }[format];
    checkSpeed(classifier, options);
    return (input) => {
      const start = performance.now();
      const result = classifier.classify(input, options);
      return write(result, input, 1000 * (performance.now() - start));
    };
  });
}

// What the pack cannot do is said before the first line; what is no speed at all is a mistake of the command line. A first text also
// warms the engine up, so that the first time is like the others.
function checkSpeed(classifier: Classifier, options: ClassifyOptions): void {
  try {
    if (classifier.info.inputs === 'pair') classifier.classify({ a: '', b: '' }, options);
    else classifier.classify('', options);
  } catch (error) {
    throw error instanceof BeexError && error.code === 'invalid-argument' ? new UsageError(error.message) : error;
  }
}

async function embed(values: Values): Promise<void> {
  for (const option of ['format', 'speed', 'exit', 'top-k'] as const) {
    if (values[option] !== undefined) throw new UsageError(`embed has no option --${option}`);
  }
  await answerLines(values, (classifier) => {
    if (classifier.info.inputs === 'pair') throw new Error('this pack compares two texts; only a pack for single texts turns a text into a vector');
    return (input) => {
      if (typeof input !== 'string') throw new Error('expected {"text": "…"}: a vector is of one text');
      return JSON.stringify({ embedding: Array.from(classifier.embed(input), shortest) });
    };
  });
}

// Loads the pack and writes a line for every line of the input. `prepare` checks that the pack has an answer, and gives what answers.
async function answerLines(values: Values, prepare: (classifier: Classifier) => (input: Input) => string): Promise<void> {
  if (values.pack === undefined) throw new UsageError('--pack FILE is missing');
  const inputFormat = oneOf('input-format', values['input-format'], ['text', 'jsonl']);
  const classifier = await load(await readFile(values.pack));
  const read = inputFormat === 'jsonl' ? readJson : classifier.info.inputs === 'pair' ? readPair : (line: string) => line;
  const answer = prepare(classifier);

  const source = values.input === undefined ? process.stdin : createReadStream(values.input);
  let number = 0;
  for await (const lines of linesOf(source)) {
    let output = '';
    try {
      for (const line of lines) {
        number++;
        output += `${answer(read(line))}\n`;
      }
    } catch (error) {
      // What came before the bad line is answered.
      await print(output);
      throw new Error(`line ${number}: ${(error as Error).message}`, { cause: error });
    }
    await print(output);
  }
}

// The complete lines of each chunk, as they come; a last line without an end counts too. Bytes that are no UTF-8 read as U+FFFD.
async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    if (!text.includes('\n')) {
      rest += text;
      continue;
    }
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    yield lines.map(withoutReturn);
  }
  rest += decoder.decode();
  if (rest !== '') yield [withoutReturn(rest)];
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

function readPair(line: string): TextPair {
  const [a, b, ...more] = line.split('\t');
  if (a === undefined || b === undefined || more.length > 0) {
    throw new Error('this pack compares two texts: give them with one tab between them, or use --input-format jsonl');
  }
  return { a, b };
}

function readJson(line: string): Input {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new Error(line.trim() === '' ? 'it is empty; JSON is expected' : `not JSON: ${(error as Error).message}`);
  }
  const { text, a, b } = (value ?? {}) as Record<string, unknown>;
  if (typeof text === 'string') return text;
  if (typeof a === 'string' && typeof b === 'string') return { a, b };
  throw new Error('expected {"text": "…"} or {"a": "…", "b": "…"}');
}

function writeJson(result: Answered, _: Input, microseconds: number): string {
  const { label, score, scores, labels, exit, work, top } = result;
  return JSON.stringify({
    label,
    score: shortest(score),
    scores: Object.fromEntries(Object.entries(scores).map(([name, value]) => [name, shortest(value)])),
    ...(labels && { labels }),
    exit: { block: exit.block, of: exit.of, reason: exit.reason },
    work: shortest(work),
    us: Math.round(10 * microseconds) / 10,
    ...(top && { top: top.map((each) => ({ label: each.label, score: shortest(each.score) })) }),
  });
}

function writeTsv(result: Answered, input: Input): string {
  return [result.labels?.join('|') ?? result.label, shortest(result.score), result.exit.block, ...texts(input)].join('\t');
}

function textWriter(labels: readonly string[]) {
  const width = Math.max(...labels.map((label) => label.length));
  const percent = (score: number) => `${(100 * score).toFixed(1)} %`;
  return (result: Answered, input: Input): string => {
    const ranked = result.top ?? result.labels?.map((label) => ({ label, score: result.scores[label]! }));
    const answer = ranked
      ? ranked.map(({ label, score }) => `${label} ${percent(score)}`).join(', ') || '–'
      : `${result.label.padEnd(width)}  ${percent(result.score).padStart(7)}`;
    return `${answer}  ${texts(input).join(' | ')}`;
  };
}

// On one line and in one column each.
function texts(input: Input): string[] {
  return (typeof input === 'string' ? [input] : [input.a, input.b]).map((text) => text.replace(/[\t\r\n]+/g, ' '));
}

async function print(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain');
}

async function info(file: string): Promise<void> {
  const bytes = await readFile(file);
  const classifier = await load(bytes);
  const { info, labels } = classifier;
  const { name, ...about } = info.metadata;
  const rows: [string, string][] = [
    ['name', typeof name === 'string' ? name : basename(file)],
    ['task', info.task],
    ['labels', labels.length > 0 ? labels.join(', ') : 'none'],
    ['takes', info.inputs === 'pair' ? 'two texts' : 'one text'],
    ['size', `${bytes.length.toLocaleString('en')} bytes; ${classifier.memory().classifier.toLocaleString('en')} in memory`],
    ['integrity', `sha256-${createHash('sha256').update(bytes).digest('base64')}`],
    ['network', `${info.blocks} blocks, hidden size ${info.hiddenSize}, ${info.heads} heads, ` +
      `${info.vocabularySize.toLocaleString('en')} word pieces`],
    ['reads', `${info.maxTokens - (info.inputs === 'pair' ? 4 : 2)} word pieces at once; ` +
      (info.inputs === 'pair' ? 'cuts the longer text' : 'longer texts in overlapping windows')],
    ['exit rule', info.exitRule ? formatExitRule(info.exitRule) : 'off'],
    ['leaves out', [info.elimination && 'words', info.skipGates && 'blocks'].filter(Boolean).join(', ') || 'nothing'],
    ...info.speeds.map(({ name, speedup, accuracy }): [string, string] =>
      ['speed', `${speedup.toFixed(2).padStart(6)} x  accuracy ${(100 * accuracy).toFixed(1)} %${name ? `  ${name}` : ''}`]),
    ['kernels here', info.kernels],
  ];
  for (const [key, value] of Object.entries(about)) rows.push(...describeValue(key, value));
  const width = Math.max(...rows.map(([key]) => key.length)) + 2;
  await print(rows.map(([key, value]) => `${key.padEnd(width)}${value}\n`).join(''));
}

// Metadata is whatever the pack's maker wrote; nested objects become rows `outer.inner`.
function describeValue(key: string, value: unknown): [string, string][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([inner, each]) => describeValue(`${key}.${inner}`, each));
  }
  return [[key, typeof value === 'string' ? value : JSON.stringify(value)]];
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.stderr.write(`beex: cannot write the results: ${error.message}\n`);
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

main(process.argv.slice(2)).catch((error: NodeJS.ErrnoException) => {
  if (error instanceof UsageError) {
    process.stderr.write(`beex: ${error.message.replace(/\.$/, '')}.\nSee beex --help.\n`);
    process.exitCode = 2;
    return;
  }
  const message = error.code === 'ENOENT' && error.path ? `there is no file ${error.path}` : error.message;
  process.stderr.write(`beex: ${message}${error instanceof BeexError ? ` (${error.code})` : ''}\n`);
  process.exitCode = 1;
});
