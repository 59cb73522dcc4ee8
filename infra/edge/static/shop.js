"use strict";
// The shop's front: products, a cart, a checkout, and what becomes of an order. It uses the public API (/openapi.yaml) and
// nothing else. What is kept in the browser: a shopper's token, the cart's id, and keys of what is under way.

const at = (id) => document.getElementById(id);

// ---- the API

class Refusal extends Error {
  constructor(problem) {
    const fields = (problem.errors || []).map((e) => `${e.pointer}: ${e.detail}`);
    super([problem.detail || problem.title, ...fields].join(" – "));
    this.problem = problem;
  }
}

function kept_session() {
  return JSON.parse(localStorage.getItem("session") || "null");
}

async function token() {
  const known = kept_session();
  if (known && Date.parse(known.expires_at) > Date.now() + 60000) return known.token;
  const answer = await fetch("/v1/sessions", { method: "POST" });
  if (!answer.ok) throw new Refusal({ title: `the shop does not answer (${answer.status})` });
  const session = await answer.json();
  localStorage.setItem("session", JSON.stringify(session));
  localStorage.removeItem("cart");
  return session.token;
}

async function call(method, path, { body, key, anonymous } = {}) {
  const headers = { Prefer: "wait=10" };
  const sent = anonymous ? null : await token();
  if (sent) headers.Authorization = `Bearer ${sent}`;
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (method === "GET") delete headers.Prefer;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  let value;
  try { value = text ? JSON.parse(text) : {}; } catch { value = { title: `refused (${answer.status})` }; }
  // A session that was revoked: whoever goes on is another guest, who may be here already.
  if (answer.status === 401 && sent === kept_session()?.token) localStorage.removeItem("session");
  if (!answer.ok) throw new Refusal(value);
  return value;
}

// A write that is tried again after a reload or a lost answer is the same one: its key is kept until it has an answer.
async function once(name, method, path, body) {
  const kept = JSON.parse(localStorage.getItem(`key:${name}`) || "null");
  const content = JSON.stringify([method, path, body]);
  const key = kept && kept.content === content ? kept.key : crypto.randomUUID();
  localStorage.setItem(`key:${name}`, JSON.stringify({ key, content }));
  try {
    const value = await call(method, path, { body, key });
    localStorage.removeItem(`key:${name}`);
    return value;
  } catch (problem) {
    if (problem.problem && problem.problem.status < 500) localStorage.removeItem(`key:${name}`);
    throw problem;
  }
}

// ---- showing

const money = ({ minor, currency }) => {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
};

function row(list, text, ...more) {
  const item = document.createElement("li"), first = document.createElement("span");
  first.textContent = text;
  item.append(first, ...more);
  list.append(item);
  return item;
}

function span(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}

function button(text, label, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.setAttribute("aria-label", label);
  element.addEventListener("click", () => attempt(element, action));
  return element;
}

async function attempt(element, action) {
  at("message").textContent = "";
  if (element) element.disabled = true;
  try {
    await action();
  } catch (problem) {
    at("message").textContent = problem.message;
  } finally {
    if (element) element.disabled = false;
  }
}

// ---- products

let next;

async function productsShow() {
  const page = await call("GET", `/v1/products?limit=50${next ? `&after=${encodeURIComponent(next)}` : ""}`, { anonymous: true });
  for (const product of page.items) {
    const add = button("Add", `Add ${product.name}`, () => cartAdd(product.sku));
    add.dataset.sku = product.sku;
    add.disabled = product.available < 1;
    row(at("products"), product.name, span(money(product.price)), add);
  }
  next = page.next;
  at("more").hidden = !next;
}

// ---- the cart

async function cartId() {
  await token();
  const known = localStorage.getItem("cart");
  if (known) return known;
  const { cart_id: id } = await once("cart", "POST", "/v1/carts");
  localStorage.setItem("cart", id);
  return id;
}

async function cartAdd(sku) {
  const id = await cartId();
  await once("line", "POST", `/v1/carts/${id}/lines`, { sku, quantity: 1 });
  await cartShow();
}

let cart;

async function cartShow() {
  const id = localStorage.getItem("cart");
  cart = id ? await call("GET", `/v1/carts/${id}`) : { lines: [] };
  if (cart.status && cart.status !== "open") {
    localStorage.removeItem("cart");
    cart = { lines: [] };
  }
  at("cart-count").textContent = cart.lines.reduce((sum, line) => sum + line.quantity, 0);
  at("lines").replaceChildren();
  for (const line of cart.lines) {
    const path = `/v1/carts/${id}/lines/${encodeURIComponent(line.sku)}`;
    row(at("lines"), `${line.quantity} × ${line.name}`, span(money(line.line_total)),
      button("Remove", `Remove ${line.name}`, async () => { await call("DELETE", path); await cartShow(); }));
  }
  at("total").textContent = cart.lines.length ? money(cart.totals.total) : "–";
  at("checkout").hidden = !cart.lines.length;
}

async function buy(form) {
  const field = Object.fromEntries(new FormData(form));
  const order = await once("checkout", "POST", "/v1/checkouts", {
    cart_id: localStorage.getItem("cart"),
    expected_total: cart.totals.total,
    payment_method: field.payment_method,
    email: field.email,
    shipping_address: {
      name: field.name, line1: field.line1, city: field.city, country: field.country, postal_code: field.postal_code || null,
    },
  });
  location.hash = `#order/${order.order_id}`;
}

// ---- orders

async function ordersShow() {
  const page = await call("GET", "/v1/orders?limit=50");
  at("orders").replaceChildren();
  for (const order of page.items) {
    const link = document.createElement("a");
    link.href = `#order/${order.order_id}`;
    link.textContent = order.status;
    row(at("orders"), new Date(order.placed_at).toLocaleString(), link);
  }
}

function orderShow(order) {
  at("order-status").textContent = order.status + (order.reason ? ` (${order.reason})` : "");
  at("order-total").textContent = order.totals ? money(order.totals.total) : "–";
  at("order-lines").replaceChildren();
  for (const line of order.lines || []) row(at("order-lines"), `${line.quantity} × ${line.name}`, span(money(line.line_total)));
}

let stream;

// Browsers' EventSource sends no Authorization header, so the stream is read here.
async function orderFollow(id) {
  const own = stream = new AbortController();
  let last;
  while (!own.signal.aborted) {
    const headers = { Authorization: `Bearer ${await token()}`, Accept: "text/event-stream" };
    if (last) headers["Last-Event-ID"] = last;
    const answer = await fetch(`/v1/orders/${id}/stream`, { headers, signal: own.signal });
    if (answer.status === 204) return;
    if (!answer.ok) throw new Refusal(await answer.json().catch(() => ({ title: `refused (${answer.status})` })));
    last = (await streamRead(answer.body)) || last;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function streamRead(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", last;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return last;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const field = (name) => event.split("\n").filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n");
      if (!field("data")) continue;
      last = field("id");
      orderShow(JSON.parse(field("data")));
    }
  }
}

// ---- which part is seen

async function show() {
  const [view, id] = (location.hash.slice(1) || "products").split("/");
  if (stream) stream.abort();
  for (const name of ["products", "cart", "orders", "order"]) at(`${name}-view`).hidden = name !== view;
  if (view === "orders") await ordersShow();
  if (view === "cart" || view === "order") await cartShow();
  if (view !== "order") return;
  orderShow({ status: "…" });
  orderFollow(id).catch((problem) => {
    if (problem.name !== "AbortError") at("message").textContent = problem.message;
  });
}

addEventListener("hashchange", () => attempt(null, show));
at("more").addEventListener("click", (event) => attempt(event.target, productsShow));
at("checkout").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(event.target.querySelector("button"), () => buy(event.target));
});
attempt(null, async () => {
  await productsShow();
  await cartShow();
  await show();
});
