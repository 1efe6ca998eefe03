// A scene's packet as things of the 3-D view: clouds, bodies, cameras.

import { metres } from "./packet.js";

const HUES = [[138, 164, 255], [255, 157, 77], [76, 203, 138], [255, 122, 178]];
let faces = null; // sent once per connection

export function makeSpace({ header, arrays }, answers) {
  if (arrays.faces) faces = arrays.faces;
  const poses = header.two_view?.cameras ?? [IDENTITY];
  const clouds = [], bodies = [];
  header.images.forEach((image, number) => {
    const values = arrays[`points/${number}`];
    if (values?.length) {
      clouds.push({ positions: metres(values, image.cloud), colours: arrays[`colours/${number}`], centre: at(poses[number] ?? IDENTITY) });
    }
    const people = answers.people && image.answers[answers.people]?.people;
    if (number && !header.two_view) return; // the second picture's place is unknown
    people?.forEach((one, index) => {
      const positions = metres(arrays[`body/${number}/${index}`], one.body);
      if (faces) bodies.push({ positions: number ? moved(positions, poses[number]) : positions, faces });
    });
  });
  const reach = 0.12 * median(clouds);
  const cameras = clouds.length ? poses.map((pose, number) => frustum(header.images[number], number, header, pose, reach, HUES[number % HUES.length])) : [];
  return { clouds, bodies, cameras };
}

const IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];
const at = (pose) => [pose[0][3], -pose[1][3], -pose[2][3]];

function place(pose, [x, y, z]) {
  const out = [0, 1, 2].map((i) => pose[i][0] * x + pose[i][1] * y + pose[i][2] * z + pose[i][3]);
  return [out[0], -out[1], -out[2]];
}

function moved(positions, pose) {
  const out = new Float32Array(positions.length);
  for (let i = 0; i < positions.length; i += 3) out.set(place(pose, [positions[i], -positions[i + 1], -positions[i + 2]]), i);
  return out;
}

function median(clouds) {
  const away = clouds.flatMap(({ positions }) => {
    const some = [];
    for (let i = 2; i < positions.length; i += 300) some.push(Math.abs(positions[i]));
    return some;
  }).sort((a, b) => a - b);
  return away[Math.floor(away.length / 2)] ?? 1;
}

function frustum(image, number, header, pose, reach, colour) {
  const focal = header.two_view?.focals[number] ?? image.focal;
  const [x, y] = [(image.width / 2 / focal) * reach, (image.height / 2 / focal) * reach];
  const corners = [[-x, -y], [x, -y], [x, y], [-x, y]].map(([a, b]) => place(pose, [a, b, reach]));
  const eye = place(pose, [0, 0, 0]), top = place(pose, [0, -1.5 * y, reach]);
  const lines = [];
  corners.forEach((corner, i) => lines.push(eye, corner, corner, corners[(i + 1) % 4]));
  lines.push(corners[0], top, top, corners[1]);
  const colours = new Uint8Array(lines.length * 3);
  for (let i = 0; i < lines.length; i++) colours.set(colour, 3 * i);
  return { positions: new Float32Array(lines.flat()), colours };
}
