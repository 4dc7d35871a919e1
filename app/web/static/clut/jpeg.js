/** The metadata of JPEG files. */

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const [APP0, APP1, APP13, COMMENT, START_OF_SCAN] = [0xe0, 0xe1, 0xed, 0xfe, 0xda];

/**
 * Copy EXIF, XMP, IPTC and comments from one JPEG to another, which shows it upright and in sRGB.
 *
 * @param {Blob} original another format has nothing that is copied
 * @param {Blob} encoded of a canvas
 * @param {{width: number, height: number}} size of the encoded image
 * @returns {Promise<Blob>}
 */
export async function copyMetadata(original, encoded, { width, height }) {
  const segments = readMetadataSegments(new Uint8Array(await original.arrayBuffer()));
  const kept = segments.map((segment) => resetOrientation(segment, width, height));
  const start = 2 + (await applicationHeaderLength(encoded));
  const parts = [encoded.slice(0, start), ...kept, encoded.slice(start)];
  return new Blob(parts, { type: encoded.type });
}

/** Return the segments of a JPEG that hold metadata, each with its marker; none of another file. */
function readMetadataSegments(bytes) {
  const segments = [];
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return segments;
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const end = at + 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
    if (marker === START_OF_SCAN || end > bytes.length) break;
    if ([APP1, APP13, COMMENT].includes(marker)) segments.push(bytes.slice(at, end));
    at = end;
  }
  return segments;
}

/** Return the length of the JFIF segment that encoders write first. */
async function applicationHeaderLength(blob) {
  const head = new Uint8Array(await blob.slice(2, 6).arrayBuffer());
  return head[0] === 0xff && head[1] === APP0 ? 2 + ((head[2] << 8) | head[3]) : 0;
}

const [ORIENTATION, EXIF_IFD, PIXEL_WIDTH, PIXEL_HEIGHT] = [0x112, 0x8769, 0xa002, 0xa003];

/** Return a segment that describes an upright image of this size, without a thumbnail. */
function resetOrientation(segment, width, height) {
  const starts = (text) => [...text].every((letter, i) => segment[4 + i] === letter.charCodeAt(0));
  if (starts(EXIF)) resetExif(new DataView(segment.buffer, 4 + EXIF.length), width, height);
  if (starts(XMP)) {
    const text = Array.from(segment, (byte) => String.fromCharCode(byte)).join("");
    for (const { index, 0: match } of text.matchAll(/tiff:Orientation(="|='|>)[1-8]/g)) {
      segment[index + match.length - 1] = "1".charCodeAt(0);
    }
  }
  return segment;
}

/** Change a TIFF structure in place; a damaged one is left as it is. */
function resetExif(tiff, width, height) {
  try {
    const little = tiff.getUint16(0) === 0x4949;
    const setNumber = (entry, value) => {
      const long = tiff.getUint16(entry + 2, little) === 4;
      if (long) tiff.setUint32(entry + 8, value, little);
      else tiff.setUint16(entry + 8, value, little);
    };
    const visit = (ifd, nested = false) => {
      const count = tiff.getUint16(ifd, little);
      for (let i = 0; i < count; i++) {
        const entry = ifd + 2 + 12 * i;
        const tag = tiff.getUint16(entry, little);
        if (tag === ORIENTATION) setNumber(entry, 1);
        if (tag === PIXEL_WIDTH) setNumber(entry, width);
        if (tag === PIXEL_HEIGHT) setNumber(entry, height);
        if (tag === EXIF_IFD && !nested) visit(tiff.getUint32(entry + 8, little), true);
      }
      return ifd + 2 + 12 * count;
    };
    const next = visit(tiff.getUint32(4, little));
    tiff.setUint32(next, 0, little); // the directory of the thumbnail
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}
