// Drives OpenFeature with its OFREP provider for pages, in what of a browser it needs: one command a line, one
// answer a line.
const http = require('node:http');
const readline = require('node:readline');

globalThis.EventSource = class {
  constructor(target) {
    this.listeners = {};
    this.request = http.get(target, (response) => {
      if (response.statusCode !== 200) return this.emit('error', {});
      this.emit('open', {});
      let text = '';
      response.on('data', (data) => {
        text += data;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          const line = event.split('\n').find((part) => part.startsWith('data: '));
          if (line) this.emit('message', { data: line.slice(6) });
        }
      });
      response.on('end', () => this.emit('error', {}));
    });
    this.request.on('error', () => {});
  }
  emit(name, event) {
    this[`on${name}`]?.(event);
    (this.listeners[name] ?? []).forEach((listener) => listener(event));
  }
  addEventListener(name, listener) {
    (this.listeners[name] ??= []).push(listener);
  }
  removeEventListener() {}
  close() {
    this.request.destroy();
  }
};
let unchanged = 0;
const fetchNow = globalThis.fetch;
globalThis.fetch = async (...asked) => {
  const answer = await fetchNow(...asked);
  unchanged += answer.status === 304 ? 1 : 0;
  return answer;
};

const { OpenFeature } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
const [url, key] = process.argv.slice(1);
const provider = new OFREPWebProvider({ baseUrl: url, headers: [['X-API-Key', key]], pollInterval: 0 });

async function answer([command, flag, otherwise]) {
  const client = OpenFeature.getClient();
  switch (command) {
    case 'ready':
      await OpenFeature.setContext({ targetingKey: 'james', email: 'james@x.io' });
      await OpenFeature.setProviderAndWait(provider);
      return true;
    case 'context':
      await OpenFeature.setContext({ targetingKey: 'james', email: flag });
      return true;
    case 'bool':
      return client.getBooleanValue(flag, otherwise === 'true');
    case 'unchanged':
      return unchanged;
    case 'close':
      await OpenFeature.close();
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
