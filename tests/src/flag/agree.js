// Evaluates every flag for every target with the Node SDK, and prints what it found: one target a line.
const fs = require('node:fs');
const { Client } = require('@harnessio/ff-nodejs-server-sdk');

const [url, key, file, names] = process.argv.slice(1);
const quiet = () => {};
const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };
const memory = new Map();
const store = {
  set: async (k, v) => memory.set(k, v),
  get: async (k) => memory.get(k),
  del: async (k) => memory.delete(k),
  keys: async () => memory.keys(),
};
const options = { baseUrl: url, eventsUrl: url, logger, store, enableStream: false, enableAnalytics: false };
const client = new Client(key, options);

(async () => {
  await client.waitForInitialization();
  for (const { identifier, name, attributes } of JSON.parse(fs.readFileSync(file))) {
    const flags = {};
    for (const flag of JSON.parse(names)) {
      flags[flag] = await client.stringVariation(flag, { identifier, name, attributes }, '(default)');
    }
    console.log(JSON.stringify({ target: identifier, flags }));
  }
  console.log('done');
  process.exit(0);
})();
