
"use strict";
const $ = id => document.getElementById(id);
const pageVersion = document.documentElement.dataset.version;
const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,31}$/u;
const roomPattern = /^[a-z0-9][a-z0-9-]{0,31}$/;
const stored = {
  get: key => { try { return localStorage.getItem("lan-chat." + key) || ""; } catch { return ""; } },
  set: (key, value) => { try { localStorage.setItem("lan-chat." + key, value); } catch { /* private window */ } },
};
const asked = new URLSearchParams(location.search);
const state = {
  name: asked.get("name") || stored.get("name"), room: roomFromAddress(), features: [],
  socket: null, tries: 0, last: 0, seen: new Set(), unread: new Set(), searching: false, timer: 0,
};

function roomFromAddress() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  return roomPattern.test(wanted) ? wanted : "lobby";
}
function el(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
async function api(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || "the server answers " + answer.status);
  return body;
}

/* faces */
const hues = [172, 205, 262, 330, 12, 34, 96, 228];
function avatar(name, into) {
  const made = into || el("span", "avatar");
  let sum = 2166136261;
  for (const letter of name) sum = Math.imul(sum ^ letter.codePointAt(0), 16777619) >>> 0;
  made.textContent = [...name].slice(0, 1).join("");
  made.style.background = `hsl(${hues[(sum >>> 13) % hues.length]} 48% 40%)`;
  made.setAttribute("aria-hidden", "true");
  return made;
}

/* messages */
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const log = $("log");

function fillBody(into, text) {
  for (const part of text.split(/(https?:\/\/[^\s<>"]+|@[\p{L}\p{N}][\p{L}\p{N}._-]*)/u)) {
    if (/^https?:\/\//.test(part)) {
      const link = el("a", "", part);
      link.href = part; link.target = "_blank"; link.rel = "noopener noreferrer";
      into.append(link);
    } else if (/^@./.test(part)) {
      into.append(el("span", part.slice(1).replace(/[._-]+$/, "") === state.name ? "at me-too" : "at", part));
    } else if (part) into.append(part);
  }
}
function show(message, withRoom) {
  const at = new Date(message.sent_at), previous = log.lastElementChild;
  const day = at.toDateString();
  if (log.dataset.day !== day) {
    log.dataset.day = day;
    log.append(el("div", "day", day === new Date().toDateString() ? "Today" : calendar.format(at)));
  }
  const follows = !withRoom && previous && previous === log.lastElementChild && previous.dataset.name === message.name
    && at - new Date(previous.dataset.at) < 5 * 60 * 1000;
  const row = el("article", follows ? "msg" : "msg first");
  row.dataset.name = message.name; row.dataset.at = message.sent_at;
  if (!follows) {
    const meta = el("div", "meta"), time = el("time", "", clock.format(at));
    time.dateTime = message.sent_at;
    meta.append(el("b", "", message.name), time);
    if (withRoom) meta.append(el("span", "in", "#" + message.room));
    row.append(avatar(message.name), meta);
  }
  const body = el("div", "body");
  fillBody(body, message.text);
  row.append(body);
  log.append(row);
}
function clearLog() { log.replaceChildren(); delete log.dataset.day; }
function receive(messages) {
  const below = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  for (const message of messages) {
    if (state.seen.has(message.id)) continue;
    state.seen.add(message.id);
    state.last = Math.max(state.last, message.id);
    log.querySelector(".empty")?.remove();
    if (!state.searching) show(message);
    if (document.hidden) document.title = "● lan-chat";
  }
  if (!state.seen.size && !log.childElementCount) log.append(el("p", "empty", "Nobody has said anything in #" + state.room + " yet. Be the first."));
  if (below) log.scrollTop = log.scrollHeight;
}

/* connection */
function connect() {
  clearTimeout(state.timer);
  const query = new URLSearchParams({ room: state.room, name: state.name });
  // Ids become visible out of order now and then: ask for a few too many and drop what is known.
  if (state.last) query.set("after", Math.max(1, state.last - 20));
  const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws?" + query);
  state.socket = socket;
  socket.onmessage = event => { if (socket === state.socket) handle(JSON.parse(event.data)); };
  socket.onclose = () => { if (socket === state.socket) again(Math.min(10000, 300 * 2 ** state.tries++)); };
}
function again(wait) {
  online(false, "reconnecting");
  clearTimeout(state.timer);
  state.timer = setTimeout(connect, wait * (0.6 + Math.random() * 0.8));
}
function handle(frame) {
  switch (frame.type) {
    case "hello": hello(frame); break;
    case "history": receive(frame.messages || []); break;
    case "message": receive([frame.message]); break;
    case "error": notice(frame.text, "Close", () => { $("notice").hidden = true; }); break;
    case "draining": { const old = state.socket; state.socket = null; old.close(); again(400); break; }
  }
}
function hello(frame) {
  state.tries = 0;
  state.features = frame.features || [];
  online(true, frame.version);
  $("status").title = `gateway ${frame.instance}, cluster ${frame.cluster_id}`;
  $("site").textContent = frame.site || "";
  $("search-form").hidden = !state.features.includes("search");
  $("mail").hidden = !state.features.includes("mentions");
  if (frame.version !== pageVersion) notice(`lan-chat is now ${frame.version}; this page is still ${pageVersion}.`, "Reload", () => location.reload());
  refresh();
  setTimeout(refresh, 800); // by then the directory knows of us
}
function online(on, text) {
  $("status").className = on ? "status on" : "status";
  $("status-text").textContent = text;
  $("send").disabled = !on;
}
function notice(text, label, action) {
  $("notice-text").textContent = text;
  $("notice-do").textContent = label;
  $("notice-do").onclick = action;
  $("notice").hidden = false;
}

/* rooms and people */
function enter(room) {
  state.room = room; state.last = 0; state.seen = new Set(); state.unread.delete(room);
  leaveSearch(false);
  history.replaceState(null, "", "#" + room);
  clearLog();
  $("title").textContent = "#" + room;
  $("text").placeholder = "Message #" + room;
  document.querySelector(".side").classList.remove("open");
  const old = state.socket;
  state.socket = null;
  if (old) old.close();
  connect();
}
async function refresh() {
  try {
    const [rooms, people] = await Promise.all([api("/api/rooms"), api("/api/people")]);
    drawRooms(rooms.rooms);
    drawPeople(people.people || []);
  } catch { /* the next round tries again */ }
}
function drawRooms(rooms) {
  if (!rooms.some(room => room.name === state.room)) rooms.push({ name: state.room });
  const known = JSON.parse(stored.get("read") || "{}");
  $("rooms").replaceChildren(...rooms.map(room => {
    const button = el("button");
    button.append(el("span", "hash", "#"), el("span", "", room.name));
    if (room.name === state.room) { button.setAttribute("aria-current", "true"); known[room.name] = room.last_sent; }
    else if (room.last_sent && known[room.name] !== room.last_sent) {
      const dot = el("span", "new");
      dot.title = "new messages";
      button.append(dot);
    }
    button.onclick = () => enter(room.name);
    return button;
  }));
  stored.set("read", JSON.stringify(known));
}
function drawPeople(people) {
  const byName = new Map();
  for (const person of people) {
    const rooms = byName.get(person.name) || new Set();
    rooms.add("#" + person.room);
    byName.set(person.name, rooms);
  }
  $("people-count").textContent = byName.size || "";
  $("people").replaceChildren(...[...byName].sort(([a], [b]) => a.localeCompare(b)).map(([name, rooms]) => {
    const row = el("li");
    row.append(avatar(name), el("span", "", name), el("small", "", [...rooms].slice(0, 2).join(" ")));
    return row;
  }));
}

/* search */
let searchTimer = 0;
$("search").oninput = () => { clearTimeout(searchTimer); searchTimer = setTimeout(search, 250); };
$("search-form").onsubmit = event => { event.preventDefault(); search(); };
async function search() {
  const words = $("search").value.trim();
  if (!words) return leaveSearch(true);
  try {
    const found = await api("/api/search?" + new URLSearchParams({ q: words }));
    state.searching = true;
    clearLog();
    $("title").textContent = found.messages.length + (found.messages.length === 1 ? " message" : " messages");
    if (!found.messages.length) log.append(el("p", "empty", "No message has these words."));
    for (const message of found.messages) show(message, true);
    log.scrollTop = log.scrollHeight;
  } catch (error) { notice(error.message, "Close", () => { $("notice").hidden = true; }); }
}
function leaveSearch(redraw) {
  if (!state.searching) return;
  state.searching = false;
  $("search").value = "";
  if (redraw) enter(state.room);
}

/* writing */
const box = $("text");
function fit() { box.style.height = "auto"; box.style.height = box.scrollHeight + "px"; }
box.oninput = fit;
box.onkeydown = event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("compose").requestSubmit(); }
};
$("compose").onsubmit = event => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text || !state.socket || state.socket.readyState !== WebSocket.OPEN) return;
  if (state.searching) leaveSearch(true);
  state.socket.send(JSON.stringify({ type: "say", text }));
  box.value = "";
  fit();
  log.scrollTop = log.scrollHeight;
};

/* questions */
function ask({ title, text, value, type, ok, check, cancel }) {
  return new Promise(resolve => {
    const dialog = $("ask"), input = $("ask-input"), bad = $("ask-bad");
    $("ask-title").textContent = title; $("ask-text").textContent = text; $("ask-ok").textContent = ok;
    $("ask-cancel").hidden = !cancel;
    input.type = type || "text"; input.value = value || ""; input.required = !cancel; bad.hidden = true;
    const done = answer => { dialog.close(); resolve(answer); };
    $("ask-form").onsubmit = async event => {
      event.preventDefault();
      const why = await check(input.value.trim());
      if (!why) return done(input.value.trim());
      bad.textContent = why; bad.hidden = false;
    };
    $("ask-cancel").onclick = () => done(null);
    dialog.oncancel = event => { event.preventDefault(); if (cancel) done(null); };
    dialog.showModal();
    input.select();
  });
}
async function askName(cancel) {
  const name = await ask({
    title: cancel ? "Change your name" : "Welcome to lan-chat", text: "Under which name do your colleagues know you?",
    value: state.name, ok: cancel ? "Save" : "Start chatting", cancel,
    check: value => namePattern.test(value) ? "" : "Letters, digits and . _ - please, at most 32, no spaces.",
  });
  if (name === null) return;
  state.name = name;
  stored.set("name", name);
  begin();
}
function begin() {
  $("app").hidden = false;
  $("my-name").textContent = state.name;
  avatar(state.name, $("my-avatar"));
  enter(state.room);
  box.focus();
}
$("rename").onclick = () => askName(true);
$("mail").onclick = () => ask({
  title: "Mail me when mentioned", text: "When somebody writes @" + state.name + " while you are away. Leave it empty to stop.",
  type: "email", ok: "Save", cancel: true,
  check: async value => {
    try {
      const path = "/api/people/" + encodeURIComponent(state.name) + "/mail";
      await api(path, value ? { method: "PUT", body: JSON.stringify({ mail: value }) } : { method: "DELETE" });
      return "";
    } catch (error) { return error.message; }
  },
});
$("new-room").onsubmit = event => {
  event.preventDefault();
  const room = $("new-room-name").value.trim().toLowerCase().replace(/^#/, "").replace(/\s+/g, "-");
  if (!roomPattern.test(room)) return;
  $("new-room-name").value = "";
  enter(room);
};
$("menu").onclick = event => { event.stopPropagation(); document.querySelector(".side").classList.toggle("open"); };
document.querySelector("main").addEventListener("click", () => document.querySelector(".side").classList.remove("open"));
document.addEventListener("visibilitychange", () => { if (!document.hidden) document.title = "lan-chat"; });
window.addEventListener("hashchange", () => { if (roomFromAddress() !== state.room) enter(roomFromAddress()); });
setInterval(() => { if (state.socket && !document.hidden) refresh(); }, 8000);

if (namePattern.test(state.name)) begin(); else askName(false);
