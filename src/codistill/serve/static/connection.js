// The WebSocket: one wish under way at a time, reconnection, and what the page says about it.

import { readPacket } from "./packet.js";

const FIRST_PAUSE = 400, LONGEST_PAUSE = 8000, PING_EVERY = 25000;

export class Connection extends EventTarget {
  constructor() {
    super();
    this.ready = false;
    this.waiting = new Map(); // id -> { kind, sent }
    this.pause = FIRST_PAUSE;
    this.next = 1;
    setInterval(() => this.ready && this.socket.send('{"type": "ping"}'), PING_EVERY);
    document.addEventListener("visibilitychange", () => this.wake());
    addEventListener("online", () => this.wake());
    addEventListener("pointerdown", () => this.wake());
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => socket.send('{"type": "ping"}');
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.closed(event);
  }

  closed(event) {
    if (event.target !== this.socket) return;
    this.ready = false;
    this.waiting.clear();
    const rests = event.code === 1008 && document.hidden;
    this.tell("lost", { reason: event.reason || "no connection to the server", rests });
    if (rests) return; // sent away for silence: back when someone looks again
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(this.pause * 1.7, LONGEST_PAUSE);
  }

  wake() {
    if (document.hidden || this.socket.readyState <= WebSocket.OPEN) return;
    this.pause = FIRST_PAUSE;
    this.open();
  }

  async receive(data) {
    const received = performance.now();
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.ready = true;
        this.pause = FIRST_PAUSE;
        this.tell("hello", message);
      } else if (message.type === "error") {
        this.waiting.delete(message.id);
        this.tell("refused", message);
      } else if (message.type === "replaced") {
        this.waiting.delete(message.id);
      }
      return;
    }
    const { header, arrays } = await readPacket(data);
    const wish = this.waiting.get(header.id);
    this.waiting.delete(header.id);
    if (wish) this.tell(header.type, { header, arrays, received, sent: wish.sent, bytes: data.byteLength });
  }

  isWaiting(kind) {
    for (const wish of this.waiting.values()) if (wish.kind === kind) return true;
    return false;
  }

  // A fresh id; the message with it is to follow by `send`.
  claim(kind) {
    const id = this.next++;
    this.waiting.set(id, { kind, sent: performance.now() });
    return id;
  }

  send(id, data) {
    if (!this.ready) { this.waiting.delete(id); return; }
    this.waiting.get(id).sent = performance.now();
    this.socket.send(data);
  }

  tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}
