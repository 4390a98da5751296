// Makes Node honour HTTPS_PROXY, from version 20 on: https agents (those that the AWS SDK builds for itself included)
// and fetch open their connections by CONNECT. Newer versions have an option for it, which SDK clients do not set.
// Loaded by NODE_OPTIONS=--require; it must never break a program, so it touches nothing but where connections go.
"use strict";

const proxyText = process.env.HTTPS_PROXY || process.env.https_proxy;
if (proxyText) {
  const http = require("node:http");
  const https = require("node:https");
  const net = require("node:net");
  const tls = require("node:tls");

  const proxy = new URL(proxyText);
  const direct = (process.env.NO_PROXY || process.env.no_proxy || "")
    .toLowerCase().split(",").map((name) => name.trim().replace(/^\*?\./, "")).filter(Boolean);

  const bare = (host) => String(host).replace(/^\[|\]$/g, "").toLowerCase();
  const isDirect = (host) =>
    direct.some((name) => name === "*" || host === name || (!net.isIP(host) && host.endsWith("." + name)));

  // Calls back with a TLS socket to host:port through the proxy.
  function throughProxy(host, port, options, callback) {
    const authority = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    const headers = { host: authority };
    if (proxy.username) {
      const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
      headers["proxy-authorization"] = `Basic ${Buffer.from(user).toString("base64")}`;
    }
    const request = http.request({
      host: bare(proxy.hostname), port: proxy.port || 80, method: "CONNECT", path: authority, headers, agent: false,
    });
    request.once("connect", (response, socket, head) => {
      request.off("error", callback);
      if (response.statusCode !== 200) {
        // The proxy's reason is in the body: the only place where it can be told.
        const chunks = [head];
        socket.on("data", (chunk) => chunks.push(chunk));
        const ended = () => {
          const reason = Buffer.concat(chunks).toString("utf8").slice(0, 500).trim();
          callback(Object.assign(new Error(`proxy refused ${authority}: ${response.statusCode} ${reason}`),
            { code: "ERR_PROXY_TUNNEL" }));
        };
        socket.once("error", ended).once("end", ended).setTimeout(2000, () => socket.destroy()).once("close", ended);
        return;
      }
      const servername = options.servername ?? (net.isIP(host) ? "" : host);
      callback(null, tls.connect({ ...options, host, port, socket, servername, path: undefined }));
    });
    request.once("error", callback);
    request.end();
  }

  const once = (callback) => {
    let called = false;
    return (error, socket) => {
      if (called) return;
      called = true;
      callback(error, socket);
    };
  };

  // Every https.Agent, the global one and subclasses included, connects by this method.
  const original = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(...args) {
    const [options, callback] = args;
    if (typeof options !== "object" || options === null || typeof callback !== "function" || options.socketPath) {
      return original.apply(this, args);
    }
    const host = bare(options.host || options.hostname || "localhost");
    if (isDirect(host)) return original.apply(this, args);
    const session = options._agentKey && this._getSession ? this._getSession(options._agentKey) : undefined;
    throughProxy(host, options.port || 443, session ? { session, ...options } : options, once((error, socket) => {
      if (socket && options._agentKey && this._cacheSession) {
        socket.on("session", (fresh) => this._cacheSession(options._agentKey, fresh));
      }
      callback(error, socket);
    }));
    return undefined;
  };

  // fetch: undici's dispatcher, Node's own copy and the npm package share this symbol. Loaded at the first fetch only.
  const dispatcher = Symbol.for("undici.globalDispatcher.1");
  const realFetch = globalThis.fetch;
  if (typeof realFetch === "function") {
    let installed = false;
    const install = () => {
      installed = true;
      void globalThis.Headers; // loads undici, which sets its dispatcher
      const current = globalThis[dispatcher];
      if (!current || current.constructor.name !== "Agent") return; // the program's own choice
      const plain = new current.constructor();
      globalThis[dispatcher] = new current.constructor({
        connect(options, callback) {
          const host = bare(options.hostname);
          if (options.protocol !== "https:" || isDirect(host)) {
            const port = options.port || (options.protocol === "https:" ? 443 : 80);
            const secure = options.protocol === "https:";
            const socket = secure
              ? tls.connect({ host, port, servername: options.servername || (net.isIP(host) ? "" : host),
                  ALPNProtocols: ["http/1.1"] })
              : net.connect({ host, port });
            const done = once(callback);
            socket.once("error", done).once(secure ? "secureConnect" : "connect", () => {
              socket.off("error", done);
              done(null, socket);
            });
            return;
          }
          const done = once(callback);
          const settings = { servername: options.servername || undefined, ALPNProtocols: ["http/1.1"] };
          throughProxy(host, options.port || 443, settings, once((error, socket) => {
            if (error) return done(error);
            socket.once("error", done).once("secureConnect", () => {
              socket.off("error", done);
              done(null, socket);
            });
          }));
        },
      });
      plain.close();
    };
    globalThis.fetch = function fetch(...args) {
      if (!installed) install();
      return realFetch.apply(this, args);
    };
  }
  require("node:module").syncBuiltinESMExports();
}
