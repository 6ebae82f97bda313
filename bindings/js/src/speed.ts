// How much of the network a text gets: names, speed-ups and time budgets become the engine's numbers.
import { BeexError, describe } from './errors.js';
import { OFF, parseExit, shortest, toExitRule, type Exit, type ExitRule, type RuleWords } from './exit_rule.js';

/** The settings that a pack's maker gave a name to. */
export type SpeedName = 'accurate' | 'balanced' | 'fast';

/**
 * How fast to be:
 * - `full`: every block on every word
 * - `accurate`, `balanced`, `fast`: the pack's settings of that name
 * - `speedup`: at least so many times as fast as `full`, by the work that texts take on average. With an `exit`, so many times by leaving
 *   out words alone, tuned for a full window; what the exits save comes on top
 * - `budgetMs`: so many milliseconds at most; the pack's own exit rule holds, and no block is begun that would end too late, nor, but for the
 *   first, a window of a long text
 */
export type Speed = 'full' | SpeedName | { speedup: number } | { budgetMs: number };

/** A setting that is worth choosing, as the pack's maker measured it on texts that it was not trained on. */
export interface SpeedPoint {
  readonly name: SpeedName | undefined;
  /** Work of a text on average, as a share of `full`. */
  readonly work: number;
  /** `1 / work`. */
  readonly speedup: number;
  /** Share of right answers; micro-F1 in multi-label packs. */
  readonly accuracy: number;
  /** How strongly words are eliminated: 0 not at all, 1 as the pack was tuned. */
  readonly elimination: number;
  /** Blocks whose gate is above this are skipped; 1 skips none. */
  readonly skipThreshold: number;
  /** Undefined when only the last block answers. */
  readonly exitRule: ExitRule | undefined;
}

/** A policy as the engine takes it. @internal */
export interface Policy {
  rule: RuleWords;
  gamma: number;
  skipThreshold: number;
  /** Microseconds; 0 without a limit. */
  budget: number;
}

/** A row of the pack's curve. @internal */
export interface CurveRow {
  work: number;
  accuracy: number;
  policy: Policy;
  name: SpeedName | undefined;
}

/** What a pack offers; `elimination` is how many times as fast that can make all blocks. @internal */
export interface Offered {
  rule: RuleWords;
  curve: readonly CurveRow[];
  elimination: number;
}

/** In the order of beex::SpeedName. @internal */
export const SPEED_NAMES = [undefined, 'accurate', 'balanced', 'fast'] as const;

const HOW = 'a speed is "full", "accurate", "balanced", "fast", { speedup: 3 } or { budgetMs: 0.5 }';

/** @internal */
export function policyOf(rule: RuleWords): Policy {
  return { rule, gamma: 0, skipThreshold: 1, budget: 0 };
}

/** For people, from the numbers. @internal */
export function toSpeedPoint({ work, accuracy, policy, name }: CurveRow): SpeedPoint {
  return Object.freeze({
    name, work: shortest(work), speedup: 1 / work, accuracy: shortest(accuracy), elimination: shortest(policy.gamma),
    skipThreshold: shortest(policy.skipThreshold), exitRule: toExitRule(policy.rule),
  });
}

/** Finds what the options ask for among a pack's settings, or says what to ask for instead. @internal */
export function choosePolicy(speed: Speed | undefined, exit: Exit | undefined, pack: Offered, gammaFor: (speedup: number) => number): Policy {
  const rule = exit === undefined || exit === 'default' ? pack.rule : parseExit(exit);
  if (speed === undefined) return policyOf(rule);
  const { speedup, budgetMs } = readNumbers(speed);
  if (budgetMs !== undefined) return { ...policyOf(rule), budget: Math.min(1000 * budgetMs, 3e38) };
  if (exit !== undefined) {
    if (speedup === undefined) {
      throw new BeexError('invalid-argument', 'The options speed and exit both say when to stop; give one of them, or a speed of { speedup } or { budgetMs }.');
    }
    if (speedup <= pack.elimination) return { ...policyOf(rule), gamma: gammaFor(speedup) };
    throw new BeexError('wrong-input', `Leaving out words cannot make all blocks of this pack ${speedup} times as fast; ${offers(pack)}.`);
  }
  if (speed === 'full') return policyOf(OFF);
  const row = speedup === undefined
    ? pack.curve.find(({ name }) => name === speed)
    // Rows are in the order of work. The last bits do not count: 1 / (1 / work) need not be work.
    : pack.curve.filter(({ work }) => work * speedup <= 1 + 1e-9).at(-1);
  if (row) return row.policy;
  const missing = speedup === undefined ? `named "${speed}"` : `that is ${speedup} times as fast`;
  throw new BeexError('wrong-input', `This pack has no setting ${missing}; ${offers(pack)}.`);
}

// The number of a speed that is not a name.
function readNumbers(speed: Speed): { speedup?: number; budgetMs?: number } {
  if (typeof speed === 'string' && (speed === 'full' || (SPEED_NAMES as readonly unknown[]).includes(speed))) return {};
  const { speedup, budgetMs } = (speed ?? {}) as { speedup?: unknown; budgetMs?: unknown };
  if (typeof speed !== 'object' || speed === null || (speedup === undefined) === (budgetMs === undefined)) throw bad(`The option speed is ${describe(speed)}`);
  if (budgetMs === undefined) {
    if (typeof speedup === 'number' && speedup >= 1 && speedup < Infinity) return { speedup };
    throw bad(`The speed's speedup is ${describe(speedup)}, not a number of at least 1`);
  }
  if (typeof budgetMs === 'number' && budgetMs > 0) return { budgetMs };
  throw bad(`The speed's budgetMs is ${describe(budgetMs)}, not a number above 0`);
}

function bad(message: string): BeexError {
  return new BeexError('invalid-argument', `${message}; ${HOW}.`);
}

// What to ask this pack for instead.
function offers({ curve, elimination }: Offered): string {
  const words = elimination > 1 ? `{ speedup } up to ${floor(elimination)} with an exit rule, ` : '';
  const other = `speed "full", { budgetMs }, ${words}or an exit rule as the option exit`;
  const fastest = curve[0];
  if (!fastest) return `it was made without a speed curve. It takes ${other}`;
  const names = curve.flatMap(({ name }) => (name ? [`"${name}"`] : []));
  return `it has ${[...names, `speed-ups up to ${floor(1 / fastest.work)}`].join(', ')}, and takes ${other}`;
}

const floor = (speedup: number) => Math.floor(100 * speedup) / 100;

/** A speed as on the command line: `fast`, `3x` or `0.5ms`. @internal */
export function parseSpeed(text: string): Speed {
  const [, number, unit] = /^(\d*\.?\d+)(x|ms)$/.exec(text) ?? [];
  if (unit) return unit === 'x' ? { speedup: Number(number) } : { budgetMs: Number(number) };
  return text as Speed;
}
