// How much of the network a text gets: names, speed-ups and time budgets become the engine's numbers.
import { BeexError, describe } from './errors.js';
import { OFF, parseExit, shortest, toExitRule, type Exit, type ExitRule, type RuleWords } from './exit_rule.js';

/** The settings that a pack's maker gave a name to. */
export type SpeedName = 'accurate' | 'balanced' | 'fast';

/**
 * How fast to be:
 * - `full`: every block on every word
 * - `accurate`, `balanced`, `fast`: the pack's settings of that name
 * - `speedup`: at least so many times as fast as `full`, by the work that texts take on average
 * - `budgetMs`: so many milliseconds at most; the pack's own exit rule holds, and no block is begun that would end too late
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
export function choosePolicy(speed: Speed | undefined, exit: Exit | undefined, own: RuleWords, curve: readonly CurveRow[]): Policy {
  const rule = exit === undefined || exit === 'default' ? own : parseExit(exit);
  if (speed === undefined) return policyOf(rule);
  const { budgetMs, speedup } = (speed ?? {}) as { budgetMs?: unknown; speedup?: unknown };
  if (typeof speed === 'object' && speed !== null && budgetMs !== undefined && speedup === undefined) {
    if (!(typeof budgetMs === 'number' && budgetMs > 0)) throw bad(`The speed's budgetMs is ${describe(budgetMs)}, not a number above 0`);
    return { ...policyOf(rule), budget: Math.min(1000 * budgetMs, 3e38) };
  }
  if (exit !== undefined) {
    throw new BeexError('invalid-argument', 'The options speed and exit both say when to stop; give one of them, or a speed of { budgetMs }.');
  }
  if (speed === 'full') return policyOf(OFF);
  if (typeof speed === 'string' && (SPEED_NAMES as readonly unknown[]).includes(speed)) {
    const row = curve.find(({ name }) => name === speed);
    if (row) return row.policy;
    throw new BeexError('wrong-input', `This pack has no setting named "${speed}"; ${offers(curve)}.`);
  }
  if (typeof speed !== 'object' || speed === null || speedup === undefined || budgetMs !== undefined) {
    throw bad(`The option speed is ${describe(speed)}`);
  }
  if (!(typeof speedup === 'number' && speedup >= 1 && speedup < Infinity)) {
    throw bad(`The speed's speedup is ${describe(speedup)}, not a number of at least 1`);
  }
  // Rows are in the order of work. The last bits do not count: 1 / (1 / work) need not be work.
  const row = curve.filter(({ work }) => work * speedup <= 1 + 1e-9).at(-1);
  if (row) return row.policy;
  throw new BeexError('wrong-input', `This pack has no setting that is ${speedup} times as fast; ${offers(curve)}.`);
}

function bad(message: string): BeexError {
  return new BeexError('invalid-argument', `${message}; ${HOW}.`);
}

// What to ask this pack for instead.
function offers(curve: readonly CurveRow[]): string {
  const other = 'speed "full", { budgetMs }, or an exit rule as the option exit';
  const fastest = curve[0];
  if (!fastest) return `it was made without a speed curve. It takes ${other}`;
  const names = curve.flatMap(({ name }) => (name ? [`"${name}"`] : []));
  const most = Math.floor(100 / fastest.work) / 100;
  return `it has ${[...names, `speed-ups up to ${most}`].join(', ')}, and takes ${other}`;
}

/** A speed as on the command line: `fast`, `3x` or `0.5ms`. @internal */
export function parseSpeed(text: string): Speed {
  const [, number, unit] = /^(\d*\.?\d+)(x|ms)$/.exec(text) ?? [];
  if (unit) return unit === 'x' ? { speedup: Number(number) } : { budgetMs: Number(number) };
  return text as Speed;
}
