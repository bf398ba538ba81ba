// Places on the globe as points of a plane, in metres, north up: an azimuthal
// equidistant projection around their middle. Poles and the antimeridian are places
// like others to it.
// Source of the formulas: J. P. Snyder, Map Projections: A Working Manual (USGS 1395), section 25.

const radiusM = 6_371_008.8; // the mean one of WGS 84
const rad = Math.PI / 180;

/** The middle of places {lat, lon} in degrees. */
export function middle(places) {
  let x = 0, y = 0, z = 0;
  for (const { lat, lon } of places) {
    const c = Math.cos(lat * rad);
    x += c * Math.cos(lon * rad);
    y += c * Math.sin(lon * rad);
    z += Math.sin(lat * rad);
  }
  // All around the globe there is none; the first is as good.
  if (Math.hypot(x, y, z) < 1e-6 * places.length) return places[0] ?? { lat: 0, lon: 0 };
  return { lat: Math.atan2(z, Math.hypot(x, y)) / rad, lon: Math.atan2(y, x) / rad };
}

/** A function from a place to its point {x, y} in metres; y grows to the south, as on a screen. */
export function planeAround(centre) {
  const sin0 = Math.sin(centre.lat * rad), cos0 = Math.cos(centre.lat * rad);
  return ({ lat, lon }) => {
    const turn = (lon - centre.lon) * rad;
    const sin = Math.sin(lat * rad), cos = Math.cos(lat * rad);
    const half = Math.sin(turn / 2);
    const east = cos * Math.sin(turn);
    // As in the source, but exact also for what lies centimetres apart.
    const north = Math.sin((lat - centre.lat) * rad) + 2 * sin0 * cos * half * half;
    const far = Math.hypot(east, north), near = sin0 * sin + cos0 * cos * Math.cos(turn);
    // The other end of the globe lies on every side.
    if (far < 1e-12) return { x: near > 0 ? 0 : Math.PI * radiusM, y: 0 };
    const k = radiusM * Math.atan2(far, near) / far;
    return { x: k * east, y: -k * north };
  };
}
