// A transcript as files: SubRip, WebVTT, plain text, JSON.

const LINE = 42;

function stamp(value, comma) {
  const milliseconds = Math.round(value * 1000);
  const pad = (number, width) => String(number).padStart(width, '0');
  const [hours, minutes, rest] = [Math.floor(milliseconds / 3600000), Math.floor(milliseconds / 60000) % 60, milliseconds % 60000];
  return `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(Math.floor(rest / 1000), 2)}${comma}${pad(rest % 1000, 3)}`;
}

/** Break text between words so that the lines are about equally long and none is over 42 characters. */
function wrap(text) {
  const words = text.split(/\s+/).filter(Boolean);
  const length = words.join(' ').length;
  const aim = Math.min(LINE, Math.ceil(length / Math.ceil(length / LINE)) + 4);
  const lines = [''];
  for (const word of words) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (longer.length > aim && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.join('\n');
}

const cues = (segments, comma) => segments.filter(({ text }) => text.trim()).map(({ start, end, text }, i) => (
  `${i + 1}\n${stamp(start, comma)} --> ${stamp(end, comma)}\n${wrap(text)}\n`)).join('\n');

const escaped = (segments) => segments.map((segment) => ({
  ...segment, text: segment.text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;') }));

/** How each format is written: its type, and a function of the segments {start, end, text}. */
export const FORMATS = {
  srt: { type: 'application/x-subrip', write: (segments) => cues(segments, ',') },
  vtt: { type: 'text/vtt', write: (segments) => `WEBVTT\n\n${cues(escaped(segments), '.')}` },
  txt: { type: 'text/plain', write: (segments) => `${segments.map(({ text }) => text.trim()).filter(Boolean).join('\n')}\n` },
  json: { type: 'application/json', write: (segments) => `${JSON.stringify({
    text: segments.map(({ text }) => text.trim()).filter(Boolean).join(' '),
    segments: segments.map(({ start, end, text }) => ({ start, end, text })),
  }, null, 1)}\n` },
};
