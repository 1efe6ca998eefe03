// Where pictures come from: samples, files, a video, the webcam. Each gives { name, bitmap, send } for a frame.

const QUALITY = 0.86;
const STREAM_EDGE = 512;

export class Sources extends EventTarget {
  constructor(video) {
    super();
    this.video = video;
    this.edge = 768;
    this.facing = "environment";
    this.stream = null;
    this.streaming = null; // "webcam" | "video" | null
  }

  async sample(name) {
    const answer = await fetch(`/samples/${name}`);
    if (!answer.ok) throw new Error(`the sample ${name} cannot be loaded (${answer.status})`);
    return { name, sample: name, bitmap: await createImageBitmap(await answer.blob()) };
  }

  // An image file, reduced here: a phone's picture has a hundred times the pixels that a network sees.
  async file(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      throw new Error(`${file.name}: this browser cannot read it as a picture`);
    }
    const { canvas } = reduce(bitmap, bitmap.width, bitmap.height, this.edge);
    bitmap.close();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
    return { name: file.name, blob, bitmap: canvas };
  }

  async startWebcam() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give the webcam to pages on https or localhost alone. Open this page as " +
        "http://localhost (an SSH tunnel does it), or put a proxy with TLS in front of the server.");
    }
    this.stop();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: false, video: { facingMode: this.facing, width: { ideal: 640 }, height: { ideal: 480 } } });
    } catch (error) {
      const why = { NotAllowedError: "it was not allowed; the address bar has a setting for it",
        NotFoundError: "there is none", NotReadableError: "another program uses it" }[error.name];
      throw new Error(`No webcam: ${why ?? error.message}.`);
    }
    this.video.srcObject = this.stream;
    await this.video.play();
    this.streaming = "webcam";
  }

  async startVideo(file) {
    this.stop();
    this.address = URL.createObjectURL(file);
    this.video.srcObject = null;
    this.video.src = this.address;
    this.video.loop = true;
    try {
      await this.video.play();
    } catch {
      this.stop();
      throw new Error(`${file.name}: this browser cannot play it`);
    }
    this.name = file.name;
    this.streaming = "video";
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.streaming = null;
  }

  // The present frame of the stream; null where there is none yet.
  async frame() {
    const video = this.video;
    if (!this.streaming || !video.videoWidth) return null;
    const { canvas } = reduce(video, video.videoWidth, video.videoHeight, STREAM_EDGE);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
    return { name: this.streaming === "webcam" ? "webcam" : this.name, blob, bitmap: canvas, live: true };
  }
}

function reduce(source, width, height, edge) {
  const scale = Math.min(1, edge / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return { canvas };
}
