// Drives the Node server SDK: one command a line, one answer a line.
const readline = require('node:readline');
const { Client } = require('@harnessio/ff-nodejs-server-sdk');

const [url, key] = process.argv.slice(1);
const quiet = () => {};
const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };
const memory = new Map();
const store = {
  set: async (k, v) => memory.set(k, v),
  get: async (k) => memory.get(k),
  del: async (k) => memory.delete(k),
  keys: async () => memory.keys(),
};
const client = new Client(key, { baseUrl: url, eventsUrl: url, logger, store });
const target = { identifier: 'james', name: 'james', attributes: { email: 'james@x.io', age: 30 } };

async function answer([command, flag, otherwise]) {
  switch (command) {
    case 'ready':
      await client.waitForInitialization();
      return true;
    case 'bool':
      return client.boolVariation(flag, target, otherwise === 'true');
    case 'string':
      return client.stringVariation(flag, target, 'default');
    case 'number':
      return client.numberVariation(flag, target, -1);
    case 'json':
      return client.jsonVariation(flag, target, {});
    case 'close':
      client.close();
      return 'closed';
    default:
      throw new Error(command);
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line.split(' '))));
  }
  process.exit(0);
})();
