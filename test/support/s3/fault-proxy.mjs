#!/usr/bin/env node
// fault-proxy: HTTP proxy between an S3 client and an S3 server that injects faults on command.
// No dependencies; node >= 18 or bun. Listens on loopback only.
//   node fault-proxy.mjs --upstream http://127.0.0.1:9000 --port 9100 --admin-port 9101 [--seed 1] [--config '{...}']
// The client's Host header is passed on unchanged, so SigV4 signatures stay valid.
// Admin (on --admin-port): GET /config, PUT /config (replace), PATCH /config (merge), POST /reset,
//   POST /preset/NAME, POST /outage?ms=N[&mode=refuse|hang|503], POST /arm (one-shot faults), GET /stats, GET /log, GET /healthz
// See README.md for the config fields.
import { once } from "node:events";
import http from "node:http";

const argv = process.argv.slice(2);
const opt = (n, d) => {
  const i = argv.indexOf("--" + n);
  return i >= 0 ? argv[i + 1] : d;
};
const upstream = new URL(opt("upstream", process.env.S3_UPSTREAM || "http://127.0.0.1:9000"));
const port = +opt("port", "9100"),
  adminPort = +opt("admin-port", String(port + 1));
if (upstream.protocol !== "http:") {
  console.error("fault-proxy: upstream must be http://");
  process.exit(2);
}
if (!["127.0.0.1", "localhost", "::1", "[::1]"].includes(upstream.hostname)) {
  console.error("fault-proxy: upstream must be loopback");
  process.exit(2);
}

// ---- seeded randomness (mulberry32): decisions are reproducible for a fixed request order ----
let seed = +opt("seed", process.env.FAULT_SEED || "1") >>> 0;
function rnd() {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = seed;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
function gauss() {
  let u = 0;
  while (u === 0) u = rnd();
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * rnd());
}

// A latency is a number (fixed ms), {p50,p99} (log-normal through both points, optional max),
// {min,max} (uniform), {mean} (exponential), or any of those plus {spikeRate,spikeMs} for a separate long tail.
function sample(l) {
  if (l == null) return 0;
  if (typeof l === "number") return l;
  let v = l.fixed ?? 0;
  if (l.p50 != null) {
    const s = Math.max(0, Math.log((l.p99 ?? l.p50) / l.p50) / 2.3263);
    v += l.p50 * Math.exp(s * gauss());
  } else if (l.mean != null) v += -l.mean * Math.log(1 - rnd());
  else if (l.min != null) v += l.min + rnd() * ((l.max ?? l.min) - l.min);
  if (l.spikeRate && rnd() < l.spikeRate) v += sample(l.spikeMs);
  if (l.max != null) v = Math.min(v, l.max);
  return v;
}

const DEFAULT = () => ({
  latency: {}, // by class: {PUT, GET, HEAD, LIST, DELETE, POST, default}; where it is spent: latencyAt
  latencyAt: "before", // 'before' forwarding the request, or 'after' (the server has applied it, the response waits)
  slowDownRate: 0, // answer 503 SlowDown without forwarding
  internalErrorRate: 0, // answer 500 InternalError without forwarding
  resetRequestRate: 0, // reset the client connection mid request body: the server sees a truncated body, nothing applied
  resetResponseRate: 0, // reset the client connection mid response body (GET)
  dropResponseRate: 0, // forward, let the server apply it, then reset instead of answering: AMBIGUOUS outcome
  apply5xxRate: 0, // forward, let the server apply it, then answer 500 InternalError: AMBIGUOUS outcome
  hangRate: 0, // never answer (client must time out); hangApplies says whether the server applied it
  hangApplies: true,
  duplicateRate: 0, // bodiless or small (<= 8 MiB) requests: forward the request twice, answer with the second reply
  upBytesPerSec: 0, // shared cap, client -> server (0 = none)
  downBytesPerSec: 0, // shared cap, server -> client
  methods: null, // limit the fault rates to these methods, e.g. ["PUT","POST"]
  match: null, // limit the fault rates to request targets matching this regular expression
});
const PRESETS = {
  // model values for tests, not measurements of any provider
  none: {},
  standard: {
    latency: {
      PUT: { p50: 30, p99: 150 },
      GET: { p50: 15, p99: 120 },
      HEAD: { p50: 12, p99: 80 },
      LIST: { p50: 30, p99: 160 },
      DELETE: { p50: 20, p99: 120 },
      POST: { p50: 35, p99: 200 },
      default: { p50: 20, p99: 120 },
    },
  },
  "standard-tail": {
    latency: {
      PUT: { p50: 30, p99: 150, spikeRate: 0.002, spikeMs: { min: 1000, max: 5000 } },
      GET: { p50: 15, p99: 120, spikeRate: 0.002, spikeMs: { min: 500, max: 3000 } },
      default: { p50: 25, p99: 150, spikeRate: 0.002, spikeMs: { min: 1000, max: 5000 } },
    },
  },
  express: { latency: { PUT: { p50: 5, p99: 12 }, GET: { p50: 4, p99: 10 }, LIST: { p50: 8, p99: 20 }, default: { p50: 5, p99: 12 } } },
  flaky: {
    slowDownRate: 0.05,
    internalErrorRate: 0.02,
    resetRequestRate: 0.02,
    resetResponseRate: 0.02,
    dropResponseRate: 0.03,
    apply5xxRate: 0.02,
  },
};
let cfg = DEFAULT(),
  matchRe = null,
  outage = { until: 0, mode: "refuse" },
  armed = [];
const stats = {};
const bump = (k) => {
  stats[k] = (stats[k] || 0) + 1;
};
let nreq = 0,
  epoch = 0,
  log = [];
const note = (e) => {
  log.push(e);
  if (log.length > 2000) log.splice(0, 1000);
};
const FIELDS = Object.keys(DEFAULT());
function setCfg(next) {
  for (const k of Object.keys(next)) if (!FIELDS.includes(k)) throw new Error("unknown config field: " + k);
  for (const k of FIELDS) if (k.endsWith("Rate") && !(next[k] >= 0 && next[k] <= 1)) throw new Error(k + " must be within 0..1");
  if (!["before", "after"].includes(next.latencyAt)) throw new Error("latencyAt must be 'before' or 'after'");
  const re = next.match ? new RegExp(next.match) : null;
  cfg = next;
  matchRe = re;
}

// ---- shared token-bucket pacing, one per direction ----
class Pace {
  constructor() {
    this.free = 0;
  } // time at which the link is next idle
  async take(n, rate) {
    if (!rate) return;
    const now = performance.now();
    const start = Math.max(now - 100, this.free); /* 100 ms of credit, so that late timers do not lower the rate */
    this.free = start + (n / rate) * 1000;
    const w = this.free - now;
    if (w > 1) await sleep(w);
  }
}
const up = new Pace(),
  down = new Pace();
const sleep = (ms) => (ms > 0 ? new Promise((r) => setTimeout(r, ms)) : Promise.resolve());

const kind = (req) => {
  const u = req.url,
    q = u.indexOf("?"),
    path = q < 0 ? u : u.slice(0, q),
    qs = q < 0 ? "" : u.slice(q);
  if (req.method === "GET" && (/[?&](list-type|uploads|versions)\b/.test(qs) || path.split("/").filter(Boolean).length <= 1)) return "LIST";
  return req.method;
};
const s3err = (code, msg) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${msg}</Message><RequestId>fault-proxy</RequestId></Error>`;
function answer(req, res, status, code, msg) {
  // Drain so keep-alive stays usable, then reply. S3 closes on some 503s; clients must cope with either.
  req.resume();
  const done = () => {
    if (res.destroyed) return;
    const b = req.method === "HEAD" ? "" : s3err(code, msg);
    res.writeHead(status, { "content-type": "application/xml", "x-amz-request-id": "fault-proxy", "content-length": Buffer.byteLength(b) });
    res.end(b);
  };
  if (req.complete || req.headers.expect) done();
  else {
    req.once("end", done);
    req.once("error", () => {});
  }
}
const reset = (sock) => {
  if (!sock || sock.destroyed) return;
  if (sock.resetAndDestroy) sock.resetAndDestroy();
  else sock.destroy();
};

const FAULTS = ["slowDown", "internalError", "resetRequest", "hang", "duplicate", "dropResponse", "apply5xx", "resetResponse"];
function pick(req) {
  const i = armed.findIndex((a) => (!a.method || a.method === req.method) && (!a.re || a.re.test(req.url)) && !(a.skip > 0 && a.skip--));
  if (i >= 0) {
    const a = armed[i];
    if (--a.count <= 0) armed.splice(i, 1);
    return a;
  }
  if ((cfg.methods && !cfg.methods.includes(req.method)) || (matchRe && !matchRe.test(req.url))) return null;
  for (const f of FAULTS) {
    const p = f === "resetResponse" && req.method !== "GET" ? 0 : cfg[f + "Rate"];
    if (p > 0 && rnd() < p) return { fault: f };
  }
  return null;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
function forward(req, bodySource) {
  const o = {
    host: upstream.hostname.replace(/^\[|\]$/g, ""),
    port: upstream.port || 80,
    method: req.method,
    path: req.url,
    headers: rawHeaders(req),
    agent,
    setHost: false,
  };
  const p = http.request(o);
  const reply = new Promise((ok, no) => {
    p.once("response", ok);
    p.once("error", no);
  });
  reply.catch(() => {});
  return { p, reply };
}
function rawHeaders(req) {
  // keep case, order and duplicates; drop hop-by-hop
  const out = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const k = req.rawHeaders[i].toLowerCase();
    if (k === "connection" || k === "keep-alive" || k === "proxy-connection") continue;
    out.push(req.rawHeaders[i], req.rawHeaders[i + 1]);
  }
  return out;
}
const drained = (w) =>
  new Promise((ok) => {
    const f = () => {
      w.off("drain", f);
      w.off("close", f);
      w.off("error", f);
      ok();
    };
    w.on("drain", f);
    w.on("close", f);
    w.on("error", f);
    if (w.destroyed) f();
  });
async function pump(src, dst, pace, rate, stopAfter) {
  let n = 0;
  for await (const c of src) {
    let chunk = c;
    if (stopAfter != null && n + chunk.length > stopAfter) chunk = chunk.subarray(0, Math.max(0, stopAfter - n));
    await pace.take(chunk.length, rate());
    n += chunk.length;
    if (chunk.length && !dst.write(chunk)) {
      if (dst.destroyed) return n;
      await drained(dst);
    }
    if (dst.destroyed) return n;
    if (stopAfter != null && n >= stopAfter) return n;
  }
  return n;
}

async function handle(req, res) {
  const id = ++nreq,
    era = epoch,
    t0 = performance.now(),
    k = kind(req);
  bump("requests");
  req.on("error", () => {});
  res.on("error", () => {});
  const sock = req.socket;
  const rec = { id, at: new Date().toISOString(), method: req.method, url: req.url };
  const finish = (r) => {
    rec.result = r;
    rec.ms = +(performance.now() - t0).toFixed(1);
    if (era === epoch) note(rec);
  };
  try {
    if (outage.until > Date.now()) {
      bump("outage");
      if (outage.mode === "503") {
        answer(req, res, 503, "ServiceUnavailable", "outage");
        return finish("outage-503");
      }
      if (outage.mode === "hang") {
        req.resume();
        return finish("outage-hang");
      }
      reset(sock);
      return finish("outage-reset");
    }
    const f = pick(req),
      fault = f?.fault;
    if (fault) {
      rec.fault = fault;
      bump(fault);
    }
    const lat = sample(cfg.latency[k] ?? cfg.latency.default) + (f?.delayMs || 0);
    rec.latency = +lat.toFixed(1);
    if (cfg.latencyAt === "before") await sleep(lat);
    if (sock.destroyed) return finish("client-gone");
    if (fault === "slowDown") {
      answer(req, res, 503, "SlowDown", "Please reduce your request rate.");
      return finish(503);
    }
    if (fault === "internalError") {
      answer(req, res, 500, "InternalError", "We encountered an internal error. Please try again.");
      return finish(500);
    }
    const len = +(req.headers["content-length"] || 0);
    if (fault === "hang" && !(f.applies ?? cfg.hangApplies)) {
      req.resume();
      return finish("hang-not-applied");
    }
    if (req.headers.expect) {
      res.writeContinue();
    }

    let reply;
    if (fault === "duplicate" && len <= 8 << 20) {
      const chunks = [];
      for await (const c of req) chunks.push(c);
      const body = Buffer.concat(chunks);
      for (let i = 0; i < 2; i++) {
        const { p, reply: r } = forward(req);
        p.end(body);
        reply = await r;
        if (i === 0) {
          reply.resume();
          rec.first = reply.statusCode;
          await once(reply, "end");
        }
      }
    } else {
      const { p, reply: r } = forward(req);
      const stop = fault === "resetRequest" ? Math.floor((len || 1) / 2) : null;
      const goneEarly = () => {
        if (!p.writableEnded) p.destroy();
      };
      sock.once("close", goneEarly);
      if (stop != null) {
        await pump(req, p, up, () => cfg.upBytesPerSec, stop);
        p.on("error", () => {});
        p.destroy();
        reset(sock);
        return finish("reset-request@" + stop);
      }
      // A server may answer before it has read the whole body (403, 412): stop feeding it then.
      const feeding = pump(req, p, up, () => cfg.upBytesPerSec, null).then(
        () => {
          if (!req.complete) p.destroy();
          else p.end();
        },
        () => p.destroy(),
      );
      reply = await Promise.race([r, feeding.then(() => r)]);
      req.resume();
      sock.removeListener("close", goneEarly);
    }
    rec.status = reply.statusCode;
    reply.on("error", () => {});
    if (cfg.latencyAt === "after") await sleep(lat);
    if (fault === "dropResponse" || fault === "hang" || fault === "apply5xx") {
      reply.resume();
      if (!reply.complete) await Promise.race([once(reply, "end"), once(reply, "close")]).catch(() => {});
      if (fault === "hang") return finish("hang-applied");
      if (fault === "apply5xx") {
        answer(req, res, 500, "InternalError", "We encountered an internal error. Please try again.");
        return finish("apply5xx");
      }
      reset(sock);
      return finish("drop-response");
    }
    const hdr = [];
    for (let i = 0; i < reply.rawHeaders.length; i += 2) {
      const h = reply.rawHeaders[i].toLowerCase();
      if (h === "connection" || h === "keep-alive" || h === "transfer-encoding") continue;
      hdr.push(reply.rawHeaders[i], reply.rawHeaders[i + 1]);
    }
    if (sock.destroyed) {
      reply.destroy();
      return finish("client-gone");
    }
    const rlen = +(reply.headers["content-length"] || 0);
    if (fault === "resetResponse" && !rlen && reply.headers["transfer-encoding"] == null) {
      reply.resume();
      reset(sock);
      return finish("drop-response");
    } // no body to cut
    res.writeHead(reply.statusCode, reply.statusMessage, hdr);
    if (fault === "resetResponse") {
      const n = await pump(reply, res, down, () => cfg.downBytesPerSec, Math.floor((rlen || 2) / 2));
      await sleep(5);
      reply.destroy();
      reset(sock);
      return finish("reset-response@" + n);
    }
    await pump(reply, res, down, () => cfg.downBytesPerSec, null);
    if (!reply.complete && req.method !== "HEAD") {
      reset(sock);
      return finish("upstream-truncated");
    }
    res.end();
    finish(reply.statusCode);
  } catch (e) {
    bump("upstreamErrors");
    rec.error = e.code || e.message;
    // The real server is down: show the client a dead connection, as it would see without the proxy.
    reset(sock);
    finish("upstream-error");
  }
}

const server = http.createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 60000, noDelay: true }, (q, s) => {
  handle(q, s);
});
server.on("checkContinue", (q, s) => {
  handle(q, s);
});
server.on("clientError", (e, s) => s.destroy());
const conns = new Set();
server.on("connection", (s) => {
  if (outage.until > Date.now() && outage.mode === "refuse") {
    bump("outageConnections");
    reset(s);
    return;
  }
  conns.add(s);
  s.on("error", () => {});
  s.once("close", () => conns.delete(s));
});

async function readJson(req) {
  let b = "";
  for await (const c of req) {
    b += c;
    if (b.length > 1e6) throw new Error("body too large");
  }
  return b ? JSON.parse(b) : {};
}
const admin = http.createServer(async (req, res) => {
  const u = new URL(req.url, "http://x");
  const send = (c, o) => {
    const b = JSON.stringify(o, null, 1) + "\n";
    res.writeHead(c, { "content-type": "application/json" });
    res.end(b);
  };
  try {
    const r = req.method + " " + u.pathname;
    if (r === "GET /healthz") return send(200, { ok: true, upstream: upstream.origin });
    if (r === "GET /config")
      return send(200, {
        ...cfg,
        outage: Math.max(0, outage.until - Date.now()),
        outageMode: outage.mode,
        armed: armed.map(({ re, ...a }) => a),
      });
    if (r === "PUT /config") {
      setCfg({ ...DEFAULT(), ...(await readJson(req)) });
      return send(200, cfg);
    }
    if (r === "PATCH /config") {
      setCfg({ ...cfg, ...(await readJson(req)) });
      return send(200, cfg);
    }
    if (r === "POST /reset") {
      setCfg(DEFAULT());
      outage = { until: 0, mode: "refuse" };
      armed = [];
      log = [];
      nreq = 0;
      epoch++;
      for (const k in stats) delete stats[k];
      if (u.searchParams.get("seed")) seed = +u.searchParams.get("seed") >>> 0;
      up.free = down.free = 0;
      return send(200, cfg);
    }
    if (req.method === "POST" && u.pathname.startsWith("/preset/")) {
      const p = PRESETS[u.pathname.slice(8)];
      if (!p) return send(404, { error: "presets: " + Object.keys(PRESETS).join(" ") });
      setCfg({ ...DEFAULT(), ...p });
      return send(200, cfg);
    }
    if (r === "POST /outage") {
      const mode = u.searchParams.get("mode") || "refuse",
        ms = +(u.searchParams.get("ms") ?? NaN);
      if (!["refuse", "hang", "503"].includes(mode) || !(ms >= 0)) return send(400, { error: "ms=N & mode=refuse|hang|503" });
      outage = { until: Date.now() + ms, mode };
      if (mode === "refuse" && ms > 0) for (const s of conns) reset(s);
      return send(200, { until: new Date(outage.until).toISOString(), mode });
    }
    if (r === "POST /arm") {
      for (const a of [await readJson(req)].flat()) {
        if (![...FAULTS, undefined].includes(a.fault)) return send(400, { error: "fault must be one of " + FAULTS.join(" ") });
        armed.push({ ...a, count: a.count ?? 1, skip: a.skip ?? 0, re: a.match ? new RegExp(a.match) : null });
      }
      return send(200, { armed: armed.length });
    }
    if (r === "GET /stats") return send(200, { ...stats, connections: conns.size, armed: armed.length });
    if (r === "GET /log")
      return send(
        200,
        log.slice(-(+u.searchParams.get("n") || 200)).sort((a, b) => a.id - b.id),
      );
    send(404, { error: "no such endpoint" });
  } catch (e) {
    send(400, { error: e.message });
  }
});
try {
  const c = opt("config");
  if (c) setCfg({ ...DEFAULT(), ...JSON.parse(c) });
  const p = opt("preset");
  if (p) {
    if (!PRESETS[p]) throw new Error("unknown preset " + p);
    setCfg({ ...cfg, ...PRESETS[p] });
  }
} catch (e) {
  console.error("fault-proxy: " + e.message);
  process.exit(2);
}
admin.on("error", (e) => {
  console.error("fault-proxy: admin " + e.message);
  process.exit(1);
});
server.on("error", (e) => {
  console.error("fault-proxy: " + e.message);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () =>
  admin.listen(adminPort, "127.0.0.1", () =>
    console.log(
      JSON.stringify({
        endpoint: `http://127.0.0.1:${server.address().port}`,
        admin: `http://127.0.0.1:${admin.address().port}`,
        upstream: upstream.origin,
        pid: process.pid,
      }),
    ),
  ),
);
for (const s of ["SIGINT", "SIGTERM"]) process.on(s, () => process.exit(0));
