// Medians and quartiles, of times and of ratios of the same round.
const at = (sorted, share) => {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

/** { median, low, high }: low and high are the quartiles. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: at(sorted, 0.5), low: at(sorted, 0.25), high: at(sorted, 0.75) };
}

/** How many times as long `slower` took as `faster`, round by round. */
export const ratio = (slower, faster) => spread(slower.map((time, round) => time / faster[round]));

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
