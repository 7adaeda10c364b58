// Drives the JavaScript client SDK, in what of a browser it needs: one command a line, one answer a line.
const http = require('node:http');
const readline = require('node:readline');

const [url, key, identifier = 'james', attributes = '{"email":"james@x.io","age":30}'] = process.argv.slice(1);
// A browser's clock, except that metrics go out after a second instead of a minute.
globalThis.window = {
  setTimeout: (run, after) => setTimeout(run, Math.min(after, 1000)),
  clearTimeout,
};
globalThis.XMLHttpRequest = class {
  open(method, target) {
    this.method = method;
    this.target = target;
    this.fields = {};
    this.responseText = '';
  }
  setRequestHeader(name, value) {
    this.fields[name] = value;
  }
  send() {
    this.request = http.request(this.target, { method: this.method, headers: this.fields }, (response) => {
      this.status = response.statusCode;
      response.on('data', (data) => {
        this.responseText += data;
        this.onprogress();
      });
      response.on('end', () => this.onload());
    });
    this.request.on('error', () => this.onerror());
    this.request.end();
  }
  abort() {
    this.request.destroy();
  }
};
let asked = 0;
const fetchNow = globalThis.fetch;
globalThis.fetch = (target, ...rest) => {
  asked += String(target).includes('/evaluations') ? 1 : 0;
  return fetchNow(target, ...rest);
};

const sdk = require('@harnessio/ff-javascript-client-sdk');
const target = { identifier, name: identifier, attributes: JSON.parse(attributes) };
const quiet = () => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const client = sdk.initialize(key, target, { baseUrl: url, eventUrl: url, logger });
const ready = new Promise((resolve) => client.on(sdk.Event.READY, resolve));
const connected = new Promise((resolve) => client.on(sdk.Event.CONNECTED, resolve));

async function answer([command, flag, otherwise]) {
  switch (command) {
    case 'ready':
      await ready;
      await connected;
      return true;
    case 'bool':
      return client.variation(flag, otherwise === 'true');
    case 'string':
      return client.variation(flag, 'default');
    case 'number':
      return client.variation(flag, -1);
    case 'json':
      return client.variation(flag, {});
    case 'asked':
      return asked;
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
