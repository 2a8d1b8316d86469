// node node.mjs FOLDER < questions.txt: one question a line in, one line of JSON with the reply out.
import { basename, dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import * as library from '@huggingface/transformers';
import { ask, open } from './chat.mjs';

const folder = resolve(process.argv[2]);
library.env.allowRemoteModels = false;
library.env.localModelPath = dirname(folder);
const chat = await open(library, basename(folder), 'cpu');
for await (const question of createInterface({ input: process.stdin })) {
  const reply = await ask(chat, [{ role: 'user', content: question }]);
  console.log(JSON.stringify(reply));
}
