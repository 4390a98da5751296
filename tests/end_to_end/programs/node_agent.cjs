// An agent that uses the AWS SDK for JavaScript v3 with default settings: one call a line on standard input, its answer
// on standard output, as in boto3_agent.py. The service "cloudwatch-cbor" is CloudWatch by the SDK's own CBOR protocol.
// The operation "fromTemporaryCredentials" makes all later calls those of a role, which the SDK assumes by itself.
"use strict";

const packages = {
  cloudwatch: ["cloudwatch", "CloudWatch"], dynamodb: ["dynamodb", "DynamoDB"], ec2: ["ec2", "EC2"],
  lambda: ["lambda", "Lambda"], s3: ["s3", "S3"], secretsmanager: ["secrets-manager", "SecretsManager"],
  sqs: ["sqs", "SQS"], sts: ["sts", "STS"],
};
let clients = {}, credentials;

function client(service) {
  if (clients[service]) return clients[service];
  const [name, prefix] = packages[service.replace("-cbor", "")];
  const sdk = require(`@aws-sdk/client-${name}`);
  const config = credentials ? { credentials } : {};
  if (service.endsWith("-cbor")) config.protocol = require("@smithy/core/cbor").SmithyRpcV2CborProtocol;
  return clients[service] = { sdk, instance: new sdk[`${prefix}Client`](config) };
}

async function call({ service, operation, params }) {
  if (operation === "fromTemporaryCredentials") {
    credentials = require("@aws-sdk/credential-providers").fromTemporaryCredentials({ params });
    clients = {};
    return { ok: true, value: {} };
  }
  const { sdk, instance } = client(service);
  if (operation === "credentials") {
    const found = await instance.config.credentials();
    return { ok: true, value: { key: found.accessKeyId, secret: found.secretAccessKey, token: found.sessionToken } };
  }
  try {
    const answer = await instance.send(new sdk[`${operation}Command`](params));
    if (answer.Body) answer.Body = await answer.Body.transformToString();
    return { ok: true, value: answer };
  } catch (error) {
    return { ok: false, code: error.name, message: error.message, kind: error.constructor.name };
  }
}

(async () => {
  for await (const line of require("node:readline").createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await call(JSON.parse(line))));
  }
})();
