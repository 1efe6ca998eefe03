// A server's binary message (packets.py): a header, and typed arrays by name.

const TYPES = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };

export async function readPacket(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  await Promise.all(header.blobs.map(async (blob) => {
    const start = 4 + length + blob.offset;
    const Type = TYPES[blob.type];
    let data = buffer, offset = start, bytes = blob.bytes;
    if (blob.deflated) {
      const stream = new Blob([new Uint8Array(buffer, start, blob.bytes)]).stream();
      data = await new Response(stream.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
      [offset, bytes] = [0, data.byteLength];
    }
    const values = new Type(data, offset, bytes / Type.BYTES_PER_ELEMENT);
    arrays[blob.name] = Object.assign(values, { shape: blob.shape });
  }));
  return { header, arrays };
}

// A message with pictures (messages.py): JSON, then the encoded pictures.
export async function writeMessage(header, blobs) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, text.length, true);
  return new Blob([prefix, text, ...blobs]).arrayBuffer();
}

// Coordinates in metres of 16-bit values; x right, y up, the camera looks along -z.
export function metres(values, about) {
  const out = new Float32Array(values.length);
  const { low, step } = about;
  for (let i = 0; i < values.length; i += 3) {
    out[i] = low[0] + values[i] * step[0];
    out[i + 1] = -(low[1] + values[i + 1] * step[1]);
    out[i + 2] = -(low[2] + values[i + 2] * step[2]);
  }
  return out;
}
