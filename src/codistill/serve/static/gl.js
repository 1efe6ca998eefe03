// Programs of the 3-D viewer: points as round discs as large as the pixels they come from, shaded meshes, lines.

const POINTS = {
  vertex: `#version 300 es
    layout(location = 0) in vec3 position; layout(location = 1) in vec3 colour;
    uniform mat4 view, projection; uniform vec3 centre; uniform float spacing, height;
    out vec3 tint;
    void main() {
      vec4 seen = view * vec4(position, 1.0);
      gl_Position = projection * seen;
      float size = spacing * length(position - centre);
      gl_PointSize = clamp(size * height * projection[1][1] * 0.5 / max(gl_Position.w, 1e-3), 1.5, 40.0);
      tint = colour;
    }`,
  fragment: `#version 300 es
    precision mediump float; in vec3 tint; out vec4 colour;
    void main() {
      vec2 p = gl_PointCoord - 0.5;
      if (dot(p, p) > 0.25) discard;
      colour = vec4(tint, 1.0);
    }`,
};

const MESH = {
  vertex: `#version 300 es
    layout(location = 0) in vec3 position;
    uniform mat4 view, projection; out vec3 place;
    void main() { vec4 seen = view * vec4(position, 1.0); place = seen.xyz; gl_Position = projection * seen; }`,
  fragment: `#version 300 es
    precision highp float; in vec3 place; uniform vec3 tint; out vec4 colour;
    void main() {
      vec3 n = normalize(cross(dFdx(place), dFdy(place)));
      float key = max(dot(n, normalize(vec3(0.35, 0.7, 0.9))), 0.0), rim = pow(1.0 - abs(n.z), 3.0);
      colour = vec4(tint * (0.32 + 0.75 * key) + 0.18 * rim, 1.0);
    }`,
};

const LINES = {
  vertex: `#version 300 es
    layout(location = 0) in vec3 position; layout(location = 1) in vec3 colour;
    uniform mat4 view, projection; out vec3 tint;
    void main() { gl_Position = projection * view * vec4(position, 1.0); tint = colour; }`,
  fragment: `#version 300 es
    precision mediump float; in vec3 tint; out vec4 colour;
    void main() { colour = vec4(tint, 1.0); }`,
};

function compile(gl, { vertex, fragment }) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
  const uniforms = {};
  for (const name of ["view", "projection", "centre", "spacing", "height", "tint"]) uniforms[name] = gl.getUniformLocation(program, name);
  return { program, uniforms };
}

export function makePrograms(gl) {
  return { points: compile(gl, POINTS), mesh: compile(gl, MESH), lines: compile(gl, LINES) };
}

function attribute(gl, location, data, type, normalized) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(location);
  gl.vertexAttribPointer(location, 3, type, normalized, 0, 0);
  return buffer;
}

// A thing's arrays on the GPU: { positions, colours?, faces? }.
export function upload(gl, { positions, colours, faces }) {
  const vao = gl.createVertexArray();
  gl.bindVertexArray(vao);
  const buffers = [attribute(gl, 0, positions, gl.FLOAT, false)];
  if (colours) buffers.push(attribute(gl, 1, colours, gl.UNSIGNED_BYTE, true));
  if (faces) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    buffers.push(buffer);
  }
  gl.bindVertexArray(null);
  return { vao, count: faces ? faces.length : positions.length / 3, free() { buffers.forEach((one) => gl.deleteBuffer(one)); gl.deleteVertexArray(vao); } };
}
