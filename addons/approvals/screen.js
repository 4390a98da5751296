// The page's key: a link's redirect brings it, this origin's storage keeps it, every request of mitmweb's shows it.
// Unlike a cookie it goes to no other port of this address. Runs before mitmweb's own script.
"use strict";
(() => {
  const brought = /^#key=([\w-]+)$/.exec(location.hash);
  if (brought) {
    localStorage.setItem("sluicegate-key", brought[1]);
    history.replaceState(null, "", "#/flows");
  }
  const key = localStorage.getItem("sluicegate-key") ?? "";
  const plainFetch = window.fetch;
  window.fetch = (resource, options) => {
    const request = new Request(resource, options);
    if (new URL(request.url).origin === location.origin) request.headers.set("X-Sluicegate-Key", key);
    return plainFetch(request);
  };
  window.WebSocket = class extends WebSocket {
    constructor(url, protocols) {
      super(`${url}?key=${encodeURIComponent(key)}`, protocols);
    }
  };
})();
