// How the page writes figures.

/** Seconds for people: 0.04 s, 3.2 s, 48 s, 2 min 5 s. */
export function seconds(value) {
  if (value < 0.1) return `${value.toFixed(2)} s`;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ''}`;
}

/** A place in a recording: 0:07, 12:30, 1:02:03. */
export function clock(value) {
  const whole = Math.floor(value);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, '0');
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;

/** Bytes for people: 640 KB, 3.1 MB. */
export function bytes(value) {
  return value < 1e6 ? `${Math.max(1, Math.round(value / 1e3))} KB` : `${(value / 1e6).toFixed(1)} MB`;
}
