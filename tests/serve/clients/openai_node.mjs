// OpenAI's client for Node against a server: prints what it got as JSON, for the test to compare.
// Usage: node openai_node.mjs URL SAMPLES (the folder of recordings and images)
import fs from "node:fs";
import path from "node:path";
import { createParser } from "eventsource-parser";
import OpenAI from "openai";

const [url, samples] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const base64 = (name) => fs.readFileSync(path.join(samples, name)).toString("base64");
const recording = () => fs.createReadStream(path.join(samples, "command.wav"));
const said = "turn on the light in the kitchen"; // nano repeats it
const hello = { model: "nano", messages: [{ role: "user", content: said }], temperature: 0, max_tokens: 24 };
const long = { ...hello, messages: [{ role: "user", content: "hello ".repeat(400) }] };
const tools = [
  {
    type: "function",
    function: {
      name: "lock",
      parameters: { type: "object", properties: { device: { type: "string" } }, required: ["device"] },
    },
  },
];
const command = { ...hello, messages: [{ role: "user", content: "lock the door" }], tools, tool_choice: "required" };
const calls = (message) => message.tool_calls.map((call) => [call.function.name, call.function.arguments]);

async function streamed() {
  let text = "";
  const reasons = [];
  for await (const chunk of await client.chat.completions.create({ ...long, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
    reasons.push(chunk.choices[0].finish_reason);
  }
  return { text, reasons: reasons.filter(Boolean) };
}

async function parsedEvents() {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ ...long, stream: true }),
  });
  const data = [];
  const comments = [];
  const parser = createParser({ onEvent: (event) => data.push(event.data), onComment: (text) => comments.push(text) });
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(piece);
  const chunks = data.slice(0, -1).map((text) => JSON.parse(text));
  return { last: data.at(-1), comments: comments.length, text: chunks.map((c) => c.choices[0].delta.content ?? "").join("") };
}

async function left() {
  const stream = await client.chat.completions.create({ ...long, max_tokens: 2000, stream: true });
  for await (const _ of stream) break; // leaving the loop closes the connection
  return (await client.chat.completions.create(hello)).choices[0].message.content;
}

async function refused(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
}

async function transcribed() {
  let delta = "";
  const stream = await client.audio.transcriptions.create({ file: recording(), model: "nano", stream: true });
  let done = null;
  for await (const event of stream) {
    if (event.type === "transcript.text.delta") delta += event.delta;
    if (event.type === "transcript.text.done") done = event.text;
  }
  const asked = { file: recording(), model: "nano", response_format: "verbose_json" };
  const verbose = await client.audio.transcriptions.create({ ...asked, timestamp_granularities: ["segment"] });
  const srt = await client.audio.transcriptions.create({ file: recording(), model: "nano", response_format: "srt" });
  return { delta, done, verbose: verbose.text, duration: typeof verbose.duration, srt };
}

const whole = await client.chat.completions.create(long);
const image = [
  { type: "text", text: "What number is shown?" },
  { type: "image_url", image_url: { url: `data:image/png;base64,${base64("number.png")}` } },
];
const audio = [
  { type: "input_audio", input_audio: { data: base64("command.wav"), format: "wav" } },
  { type: "text", text: "Transcribe the audio clip into text." },
];
const schema = { type: "object", properties: { kind: { enum: ["a", "b"] } }, required: ["kind"], additionalProperties: false };
const toolStream = client.chat.completions.stream(command);
const responseEvents = [];
for await (const event of await client.responses.create({ model: "nano", input: said, temperature: 0, stream: true })) {
  responseEvents.push(event.type);
}
console.log(
  JSON.stringify({
    models: (await client.models.list()).data.map((model) => model.id),
    plain: { text: whole.choices[0].message.content, reasons: [whole.choices[0].finish_reason] },
    streamed: await streamed(),
    parsed: await parsedEvents(),
    called: calls((await client.chat.completions.create(command)).choices[0].message),
    calledInStream: calls((await toolStream.finalChatCompletion()).choices[0].message),
    hello: (await client.chat.completions.create(hello)).choices[0].message.content,
    left: await left(),
    image: (await client.chat.completions.create({ ...hello, messages: [{ role: "user", content: image }] })).choices[0]
      .message.content,
    audio: (await client.chat.completions.create({ ...hello, messages: [{ role: "user", content: audio }] })).choices[0]
      .message.content,
    json: (
      await client.chat.completions.create({
        ...hello,
        response_format: { type: "json_schema", json_schema: { name: "kind", strict: true, schema } },
      })
    ).choices[0].message.content,
    bad: await refused(() => client.chat.completions.create({ ...hello, temperature: 3 })),
    badInStream: await refused(() => client.chat.completions.create({ ...hello, temperature: 3, stream: true })),
    absent: await refused(() => client.embeddings.create({ model: "nano", input: "hello" })),
    response: (await client.responses.create({ model: "nano", input: said, temperature: 0 })).output_text,
    responseEvents,
    ...(await transcribed()),
  }),
);
