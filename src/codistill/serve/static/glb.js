// The 3-D view as a binary glTF 2.0 file: clouds as points, bodies as triangles, cameras as lines.

const FLOAT = 5126, UINT = 5125, BYTE = 5121, ARRAY = 34962, ELEMENTS = 34963;

export function makeGLB({ clouds, bodies, cameras }, about) {
  const gltf = { asset: { version: "2.0", generator: "codistill live" }, scene: 0, scenes: [{ nodes: [], extras: about }],
    nodes: [], meshes: [], accessors: [], bufferViews: [], buffers: [] };
  const parts = [];
  let length = 0;

  function view(data, target) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    gltf.bufferViews.push({ buffer: 0, byteOffset: length, byteLength: bytes.length, target });
    const padding = (4 - (bytes.length % 4)) % 4;
    parts.push(bytes, new Uint8Array(padding));
    length += bytes.length + padding;
    return gltf.bufferViews.length - 1;
  }

  function accessor(data, componentType, type, target, more = {}) {
    const sizes = { SCALAR: 1, VEC3: 3, VEC4: 4 };
    gltf.accessors.push({ bufferView: view(data, target), componentType, count: data.length / sizes[type], type, ...more });
    return gltf.accessors.length - 1;
  }

  function add(name, mode, { positions, colours, faces }) {
    const attributes = { POSITION: accessor(positions, FLOAT, "VEC3", ARRAY, bounds(positions)) };
    if (colours) attributes.COLOR_0 = accessor(withAlpha(colours), BYTE, "VEC4", ARRAY, { normalized: true });
    const primitive = { attributes, mode };
    if (faces) primitive.indices = accessor(faces, UINT, "SCALAR", ELEMENTS);
    gltf.meshes.push({ name, primitives: [primitive] });
    gltf.nodes.push({ name, mesh: gltf.meshes.length - 1 });
    gltf.scenes[0].nodes.push(gltf.nodes.length - 1);
  }

  clouds.forEach((one, i) => add(`points ${i + 1}`, 0, one));
  bodies.forEach((one, i) => add(`body ${i + 1}`, 4, one));
  cameras.forEach((one, i) => add(`camera ${i + 1}`, 1, one));
  gltf.buffers.push({ byteLength: length });
  return pack(gltf, parts, length);
}

function pack(gltf, parts, length) {
  const text = new TextEncoder().encode(JSON.stringify(gltf));
  const padding = new Uint8Array((4 - (text.length % 4)) % 4).fill(32);
  const json = text.length + padding.length;
  const head = new DataView(new ArrayBuffer(20)), chunk = new DataView(new ArrayBuffer(8));
  [0x46546c67, 2, 28 + json + length, json, 0x4e4f534a].forEach((value, i) => head.setUint32(4 * i, value, true));
  chunk.setUint32(0, length, true);
  chunk.setUint32(4, 0x004e4942, true);
  return new Blob([head, text, padding, chunk, ...parts], { type: "model/gltf-binary" });
}

function withAlpha(colours) {
  const out = new Uint8Array((colours.length / 3) * 4).fill(255);
  for (let i = 0, j = 0; i < colours.length; i += 3, j += 4) out.set(colours.subarray(i, i + 3), j);
  return out;
}

function bounds(positions) {
  const min = [Infinity, Infinity, Infinity], max = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < positions.length; i++) {
    min[i % 3] = Math.min(min[i % 3], positions[i]);
    max[i % 3] = Math.max(max[i % 3], positions[i]);
  }
  return { min, max };
}
