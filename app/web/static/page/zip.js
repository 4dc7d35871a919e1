/** Write a ZIP archive without compression, since images are compressed (APPNOTE.TXT 6.3). */

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ (i >>> 1) : i >>> 1;
  return i;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

const UTF8_NAMES = 0x800;
const DATE = 0x21; // 1 January 1980, the first one

/** Return a record: a signature, then numbers of 16 bits, or of 32 bits where marked so. */
function record(signature, ...numbers) {
  const view = new DataView(new ArrayBuffer(4 + numbers.reduce((sum, [, size]) => sum + size, 0)));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [value, size] of numbers) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
}

const short = (value) => [value, 2];
const long = (value) => [value, 4];

/**
 * @param {{name: string, blob: Blob}[]} files together below 4 GB
 * @returns {Promise<Blob>}
 */
export async function zip(files) {
  const [contents, directory] = [[], []];
  let offset = 0;
  for (const { name, blob } of files) {
    const text = new TextEncoder().encode(name);
    const sum = crc32(new Uint8Array(await blob.arrayBuffer()));
    const common = [
      ...[20, UTF8_NAMES, 0, 0, DATE].map(short),
      ...[sum, blob.size, blob.size].map(long),
      short(text.length),
      short(0),
    ];
    contents.push(record(0x04034b50, ...common), text, blob);
    const place = [...[0, 0, 0].map(short), long(0), long(offset)];
    directory.push(record(0x02014b50, short(20), ...common, ...place), text);
    offset += 30 + text.length + blob.size;
  }
  const size = directory.reduce((sum, it) => sum + it.byteLength, 0);
  const counts = [0, 0, files.length, files.length].map(short);
  const end = record(0x06054b50, ...counts, long(size), long(offset), short(0));
  return new Blob([...contents, ...directory, end], { type: "application/zip" });
}
