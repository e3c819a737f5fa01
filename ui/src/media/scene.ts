// One WebGL context for all 3D objects of the page: each is drawn in it and copied to its tile, so that no tile loses its picture.
import type { Solid } from "./npz";

export interface Camera {
  turn: number;
  tilt: number;
  zoom: number;
}

const VERTEX = `#version 300 es
in vec3 place; in vec3 colour; uniform mat4 view; uniform float size; out vec3 tint; out vec3 at;
void main() { gl_Position = view * vec4(place, 1.0); gl_PointSize = size; tint = colour; at = place; }`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 tint; in vec3 at; uniform bool lit; out vec4 pixel;
void main() {
  float light = 1.0;
  if (lit) { vec3 normal = normalize(cross(dFdx(at), dFdy(at))); light = 0.45 + 0.55 * abs(dot(normal, normalize(vec3(0.4, 0.5, 0.8)))); }
  pixel = vec4(tint * light, 1.0);
}`;

interface Stage {
  canvas: HTMLCanvasElement;
  gl: WebGL2RenderingContext;
  program: WebGLProgram;
  buffers: { place: WebGLBuffer; colour: WebGLBuffer; faces: WebGLBuffer };
  /** What its buffers hold. */
  holds: Solid | null;
  lost: boolean;
}

let stage: Stage | null = null;

function begin(): Stage {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error("WebGL makes no shader");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("WebGL cannot draw here");
  const buffers = { place: gl.createBuffer(), colour: gl.createBuffer(), faces: gl.createBuffer() };
  const made: Stage = { canvas, gl, program, buffers, holds: null, lost: false };
  canvas.addEventListener("webglcontextlost", () => (made.lost = true));
  return made;
}

function fill(at: Stage, solid: Solid, plain: [number, number, number]): void {
  const { gl, program, buffers } = at;
  const bind = (name: "place" | "colour", data: Float32Array | Uint8Array, type: number, scaled: boolean) => {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, type, scaled, 0, 0);
  };
  bind("place", solid.vertices, gl.FLOAT, false);
  const colours = solid.colours ?? new Uint8Array(solid.vertices.length).map((_, index) => plain[index % 3] as number);
  bind("colour", colours, gl.UNSIGNED_BYTE, true);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.faces);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, solid.faces, gl.STATIC_DRAW);
}

/** The matrix of a camera that looks at the middle; columns one after the other. */
export function matrix({ turn, tilt, zoom }: Camera, wide: number): Float32Array {
  const [sinT, cosT, sinP, cosP] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)];
  // z is up; the camera stands on a sphere. Rows: to the right, up, towards the eye.
  const right = [cosT, sinT, 0];
  const up = [-sinT * sinP, cosT * sinP, cosP];
  const eye = [sinT * cosP, -cosT * cosP, sinP];
  const far = 3.9 / zoom;
  const [focus, near, end] = [1.8, 0.05, far + 4];
  const [sx, sy] = [focus / Math.max(1, wide), focus * Math.min(1, wide)];
  const found = new Float32Array(16);
  for (let axis = 0; axis < 3; axis++) {
    const depth = -(eye[axis] as number);
    found[4 * axis] = sx * (right[axis] as number);
    found[4 * axis + 1] = sy * (up[axis] as number);
    found[4 * axis + 2] = ((end + near) / (end - near)) * depth;
    found[4 * axis + 3] = depth;
  }
  found[14] = ((end + near) / (end - near)) * far - (2 * end * near) / (end - near);
  found[15] = far;
  return found;
}

/** Draws an object and copies the picture; what a browser may take from us, it gets anew. */
export function draw(solid: Solid, camera: Camera, target: HTMLCanvasElement, size: [number, number], plain: [number, number, number]): void {
  if (stage === null || stage.lost || stage.gl.isContextLost()) stage = begin();
  const { gl, canvas, program } = stage;
  const ratio = Math.min(2, Math.max(1, devicePixelRatio));
  const [width, height] = [Math.max(1, Math.round(size[0] * ratio)), Math.max(1, Math.round(size[1] * ratio))];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  [target.width, target.height] = [width, height];
  gl.useProgram(program);
  if (stage.holds !== solid) {
    fill(stage, solid, plain);
    stage.holds = solid;
  }
  gl.viewport(0, 0, width, height);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.uniformMatrix4fv(gl.getUniformLocation(program, "view"), false, matrix(camera, width / height));
  gl.uniform1f(gl.getUniformLocation(program, "size"), (solid.vertices.length > 300_000 ? 1.5 : 3) * ratio);
  gl.uniform1i(gl.getUniformLocation(program, "lit"), solid.faces.length ? 1 : 0);
  if (solid.faces.length) gl.drawElements(gl.TRIANGLES, solid.faces.length, gl.UNSIGNED_INT, 0);
  else gl.drawArrays(gl.POINTS, 0, solid.vertices.length / 3);
  target.getContext("2d")?.drawImage(canvas, 0, 0);
}
