// An identity provider that is told, a line of JSON at a time, what to do: {"generate": ALG, "kid": KID} adds a key,
// {"token": CLAIMS, "kid": KID} makes a token. Its first line is its issuer; each command has a line in answer.
import { createInterface } from "node:readline";

const { OAuth2Server } = await import(`${process.argv[2]}/oauth2-mock-server/dist/index.mjs`);
const server = new OAuth2Server();
server.service.on("beforeTokenSigning", (token) => Object.assign(token.payload, { sub: "agent/ada", aud: "sluicegate" }));
await server.start(0, "localhost");
console.log(JSON.stringify(server.issuer.url));
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const made = asked.generate
    ? (await server.issuer.keys.generate(asked.generate, { kid: asked.kid })).kid
    : await server.issuer.buildToken({ kid: asked.kid, scopesOrTransform: (_, claims) => Object.assign(claims, asked.token) });
  console.log(JSON.stringify(made));
}
await server.stop();
