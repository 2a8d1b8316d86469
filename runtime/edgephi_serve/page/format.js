// Figures in words.

export const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;

/** 0.04 s, 3.2 s, 48 s, 2 min 5 s. */
export function seconds(value) {
  if (value < 0.1) return `${value.toFixed(2)} s`;
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ''}`;
}

/** A place in a recording: 0:07, 12:30, 1:02:03. */
export function clock(value) {
  const two = (number) => String(Math.floor(number)).padStart(2, '0');
  const [hours, minutes] = [Math.floor(value / 3600), Math.floor(value / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(value % 60)}` : `${minutes}:${two(value % 60)}`;
}

/** 640 KB, 3.1 MB. */
export const bytes = (value) => (value < 1e6 ? `${Math.ceil(value / 1e3)} KB` : `${(value / 1e6).toFixed(1)} MB`);
