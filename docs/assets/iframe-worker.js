// Workers for pages that are opened as files, where browsers refuse them: the script runs in a hidden frame instead.
// The theme's search is such a worker. Loaded from here, so that nothing is fetched from elsewhere.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.onmessage = null
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      this.inner = frame.contentWindow
      this.inner.postMessage = (data) => this.answer(data)
      this.inner.importScripts = (...urls) =>
        urls.reduce((done, one) => done.then(() => this.load(new URL(one, url))), Promise.resolve())
      this.load(url).then(() => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach((data) => this.send(data))
      })
    }
    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.inner.document.createElement("script")
        script.src = url
        script.onload = resolve
        script.onerror = reject
        this.inner.document.head.append(script)
      })
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.send(data)
    }
    send(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
    }
    answer(data) {
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    }
    terminate() {
      this.inner.frameElement.remove()
    }
  }
}
