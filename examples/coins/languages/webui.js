// webui: the figures as server-sent events, so the page only listens.
"use strict";
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");

const [, storeHost, storePort] = /^(.*):(\d+)$/.exec(process.env.STORE ?? "store:6379");

const PAGE = `<!doctype html>
<meta charset="utf-8"><title>Coins</title><link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark }
  body { font: 18px/1.6 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem }
  b { font-size: 3rem; display: block; line-height: 1.1; font-variant-numeric: tabular-nums }
  small { opacity: .65 }
</style>
<h1>Coins</h1>
<p><b id="speed">–</b> hashes a second</p>
<p><b id="coins">–</b> coins</p>
<small id="state" role="status">connecting</small>
<script>
  const samples = [];
  const show = (id, text) => { document.getElementById(id).textContent = text };
  const events = new EventSource("events");
  events.onmessage = event => {
    const figures = JSON.parse(event.data);
    if (figures.error) return show("state", figures.error);
    samples.push(figures);
    if (samples.length > 6) samples.shift();
    const millis = figures.now - samples[0].now;
    if (millis > 0) show("speed", ((figures.hashes - samples[0].hashes) * 1000 / millis).toFixed(1));
    show("coins", figures.coins);
    show("state", "served by " + figures.instance);
  };
  events.onerror = () => show("state", "no connection");
</script>
`;

// One connection a question: the store answers two lines a value and closes after QUIT.
function figures() {
  return new Promise((resolve, reject) => {
    const store = net.connect({ host: storeHost, port: Number(storePort), timeout: 5000 });
    let answer = "";
    store.end("GET hashes\r\nGET coins\r\nQUIT\r\n");
    store.on("data", (data) => { answer += data; });
    store.on("timeout", () => store.destroy(new Error("the store does not answer")));
    store.on("error", reject);
    store.on("close", () => {
      const [hashes, coins] = [...answer.matchAll(/\$(?:-1|\d+\r\n(\d+))\r\n/g)].map((m) => Number(m[1] ?? 0));
      if (coins === undefined) return reject(new Error("the store answered something else"));
      resolve({ now: Date.now(), hashes, coins, instance: os.hostname() });
    });
  });
}

async function answer(request, response) {
  const path = request.url.split("?")[0];
  if (path === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE);
  } else if (path === "/json") {
    try {
      const json = JSON.stringify(await figures());
      response.writeHead(200, { "content-type": "application/json" }).end(json);
    } catch (error) {
      response.writeHead(503, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: error.message }));
    }
  } else if (path === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    while (!response.destroyed) {
      const event = await figures().catch((error) => ({ error: error.message }));
      response.write(`data: ${JSON.stringify(event)}\n\n`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  } else {
    response.writeHead(404).end("not found\n");
  }
}

const server = http.createServer(answer);
server.keepAliveTimeout = 300_000;
server.listen({ port: Number(process.env.PORT ?? 80), host: "0.0.0.0", backlog: 1024 }, () => {
  console.log("webui: listening (node)");
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
