// An OpenID provider with the device authorization grant: what `sluicegate credentials` signs people in at.
// Usage: node provider.mjs; prints its issuer. Whoever types a login into its page is that person.
import http from "node:http";
import Provider from "oidc-provider";

const lives = { AccessToken: 60, DeviceCode: 60, IdToken: 3600, RefreshToken: 86400, Session: 3600, Grant: 86400, Interaction: 600 };
const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "sluicegate",
        token_endpoint_auth_method: "none",
        grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    claims: { openid: ["sub", "groups"] },
    scopes: ["openid", "offline_access"],
    conformIdTokenClaims: false,
    cookies: { keys: ["test"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ["developers"] }) }),
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    ttl: lives,
  });
  provider.use(async (context, next) => {
    await next();
    if (context.path === "/device/auth" && context.status === 200) context.body.interval = 1; // tests wait for it
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
