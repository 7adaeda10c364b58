// Drives OpenFeature with its OFREP provider for servers: one command a line, one answer a line.
const readline = require('node:readline');
const { OpenFeature } = require('@openfeature/server-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');

const [url, key] = process.argv.slice(1);
const provider = new OFREPProvider({ baseUrl: url, headers: [['X-API-Key', key]] });
const context = { targetingKey: 'james', email: 'james@x.io', age: 30 };

async function answer([command, flag, otherwise]) {
  const client = OpenFeature.getClient();
  switch (command) {
    case 'ready':
      await OpenFeature.setProviderAndWait(provider);
      return true;
    case 'bool':
      return client.getBooleanValue(flag, otherwise === 'true', context);
    case 'string':
      return client.getStringValue(flag, 'default', context);
    case 'number':
      return client.getNumberValue(flag, -1, context);
    case 'json':
      return client.getObjectValue(flag, {}, context);
    case 'details': {
      const { variant, reason, errorCode } = await client.getBooleanDetails(flag, false, context);
      return { variant, reason, errorCode };
    }
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
