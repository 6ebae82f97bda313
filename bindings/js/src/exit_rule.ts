import { BeexError, describe } from './errors.js';

/** When to stop before the last block. Entropies are shares of the largest possible one, so they lie between 0 and 1. */
export interface ExitRule {
  /**
   * - `fractional`: entropy fell by less than this share since the exit before (BEExformer)
   * - `entropy`: entropy is below the threshold (DeeBERT)
   * - `patience`: so many exits in a row gave the same label (PABEE)
   * - `probability`: the best label's probability is above the threshold; in multi-label packs, that of every label's answer, yes or no
   */
  kind: 'fractional' | 'entropy' | 'patience' | 'probability';
  threshold: number;
  /** Stop at once below this entropy. Default 0: never. */
  certain?: number;
  /** `fractional` only: go on at or above this entropy. Default 2: no such guard. */
  uncertain?: number;
  /** No stop before this exit. Default 0. */
  first?: number;
  /** `fractional` only: when entropy rose, answer with the exit before. Default false. */
  keepLowerEntropy?: boolean;
}

/**
 * A rule as text: `fractional:0.05`, `entropy:0.3`, `patience:2` or `probability:0.95`, and after it, if wished,
 * `,certain=0.05`, `,uncertain=0.9`, `,first=1` and `,keep-lower-entropy`.
 */
export type ExitRuleText = `${ExitRule['kind']}:${number}` | `${ExitRule['kind']}:${number},${string}`;

/** The pack's own rule, no early exit at all, or a rule. */
export type Exit = 'default' | 'off' | ExitRuleText | ExitRule;

/**
 * Why the engine stopped where it did: `last` block reached; `certain`: entropy under the rule's lower guard; `reduction`:
 * another block had brought too little; `rising`: entropy went up, so the exit before answered; `budget`: the next block would not have
 * ended in time; or the rule of that name held.
 */
export type ExitReason = 'last' | 'certain' | 'reduction' | 'rising' | 'entropy' | 'patience' | 'probability' | 'budget';

/** In the order of beex::ExitReason. @internal */
export const REASONS: readonly ExitReason[] = ['last', 'certain', 'reduction', 'rising', 'entropy', 'patience', 'probability', 'budget'];

/** A rule as the engine takes it. @internal */
export interface RuleWords {
  kind: number;
  threshold: number;
  certain: number;
  uncertain: number;
  first: number;
  keepLowerEntropy: boolean;
}

const KINDS = ['off', 'fractional', 'entropy', 'patience', 'probability'] as const;
const HOW = 'an exit rule is "default", "off", "fractional:0.05", "entropy:0.3", "patience:2" or "probability:0.95", ' +
  'then optionally ",certain=0.05", ",uncertain=0.9", ",first=1", ",keep-lower-entropy"';

/** @internal */
export const OFF: RuleWords = { kind: 0, threshold: 0, certain: 0, uncertain: 2, first: 0, keepLowerEntropy: false };

function bad(message: string): BeexError {
  return new BeexError('invalid-argument', `${message}; ${HOW}.`);
}

function parseText(text: string): ExitRule {
  const [head = '', ...parts] = text.split(',').map((part) => part.trim());
  const [kind = '', threshold = ''] = head.split(':');
  const number = (name: string, value: string) => {
    if (!/^\d*\.?\d+(e-?\d+)?$/i.test(value)) throw bad(`In the exit rule "${text}", ${name} is "${value}", not a number`);
    return Number(value);
  };
  const rule: ExitRule = { kind: kind as ExitRule['kind'], threshold: 0 };
  if (!KINDS.includes(kind as never) || kind === 'off') throw bad(`The exit rule "${text}" has no kind that beex knows`);
  rule.threshold = number('the threshold', threshold);
  for (const part of parts) {
    const [name, value = ''] = part.split('=');
    if (name === 'certain' || name === 'uncertain' || name === 'first') rule[name] = number(name, value);
    else if (part === 'keep-lower-entropy') rule.keepLowerEntropy = true;
    else throw bad(`The exit rule "${text}" has a part "${part}" that beex does not know`);
  }
  return rule;
}

/** Checks a rule that is not 'default' and turns it into the engine's numbers. @internal */
export function parseExit(exit: unknown): RuleWords {
  if (exit === 'off') return OFF;
  const rule = typeof exit === 'string' ? parseText(exit) : (exit as Partial<ExitRule> | null | undefined);
  if (typeof rule !== 'object' || rule === null) throw bad(`The option exit is ${describe(exit)}`);
  const kind = KINDS.indexOf(rule.kind as never);
  if (kind < 1) throw bad(`The exit rule's kind is ${describe(rule.kind)}`);
  const words: RuleWords = {
    kind,
    threshold: rule.threshold as number,
    certain: rule.certain ?? OFF.certain,
    uncertain: rule.uncertain ?? OFF.uncertain,
    first: rule.first ?? OFF.first,
    keepLowerEntropy: rule.keepLowerEntropy ?? false,
  };
  for (const name of ['threshold', 'certain', 'uncertain', 'first'] as const) {
    const value = words[name];
    if (typeof value !== 'number' || !(value >= 0 && value < 2 ** 31)) {
      throw bad(`The exit rule's ${name} is ${describe(value)}, not a number of at least 0`);
    }
  }
  if (!Number.isInteger(words.first)) throw bad(`The exit rule's first is ${words.first}, not a whole number`);
  if (kind === 3 && !(Number.isInteger(words.threshold) && words.threshold >= 1)) {
    throw bad(`The exit rule's patience is ${words.threshold}, not a whole number of at least 1`);
  }
  if (typeof words.keepLowerEntropy !== 'boolean') {
    throw bad(`The exit rule's keepLowerEntropy is ${describe(words.keepLowerEntropy)}, not a boolean`);
  }
  return words;
}

/** The rule that the engine's numbers stand for, undefined for "off". @internal */
export function toExitRule(words: RuleWords): ExitRule | undefined {
  const kind = KINDS[words.kind];
  if (kind === undefined || kind === 'off') return undefined;
  const { first, keepLowerEntropy } = words;
  return {
    kind, threshold: shortest(words.threshold), certain: shortest(words.certain), uncertain: shortest(words.uncertain),
    first, keepLowerEntropy,
  };
}

/** The text form of a rule, without parts that are at their default. */
export function formatExitRule(rule: ExitRule): ExitRuleText {
  const parts = [`${rule.kind}:${shortest(rule.threshold)}`];
  if (rule.certain) parts.push(`certain=${shortest(rule.certain)}`);
  if (rule.uncertain !== undefined && rule.uncertain !== OFF.uncertain) parts.push(`uncertain=${shortest(rule.uncertain)}`);
  if (rule.first) parts.push(`first=${rule.first}`);
  if (rule.keepLowerEntropy) parts.push('keep-lower-entropy');
  return parts.join(',') as ExitRuleText;
}

/**
 * The number with the fewest digits that is the same float32: 0.05 rather than 0.05000000074505806. The engine's numbers
 * are float32, so nothing is lost. @internal
 */
export function shortest(value: number): number {
  for (let digits = 1; digits < 10; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}
