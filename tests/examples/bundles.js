// Work on Bundles that is too much to send through a pipe.
import { BundleError, readBundle } from "../../examples/browser/lib/fhir.js";

/** Junk in every place of a Bundle, one place at a time; how often it was tried. */
export function tryJunk(sidecar, bundle, junk) {
  let tried = 0;
  function attempt() {
    tried++;
    let people;
    try {
      ({ people } = readBundle(sidecar, bundle));
    } catch (error) {
      if (error instanceof BundleError) return;
      throw error;
    }
    for (const { biomarkers } of people)
      for (const { name, minimum, maximum } of sidecar.panel) {
        const value = biomarkers[name] ?? minimum;
        if (!(minimum <= value && value <= maximum)) throw new Error(`${name} is ${value}`);
      }
  }
  function walk(node) {
    for (const [key, part] of Object.entries(node)) {
      for (const value of junk) {
        node[key] = value;
        attempt();
      }
      node[key] = part;
      if (typeof part === "object" && part !== null) walk(part);
    }
  }
  walk(bundle);
  return tried;
}

/** A person of a Bundle whose one result comes again and again. */
export function readRepeated(sidecar, [patient, result], count) {
  const entry = [patient, ...new Array(count).fill(result)];
  return readBundle(sidecar, { resourceType: "Bundle", entry }).people;
}
