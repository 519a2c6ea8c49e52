// Bundles what runs without JupyterLab: the plain page, and the widget for notebook cells.
//   node scripts/bundle.mjs [--development]      development: with source maps, not minified
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const at = path => fileURLToPath(new URL(path, import.meta.url));
const development = process.argv.includes('--development');
const out = at('../../extension/jupyterlab_postdoc/static');
const labextension = at('../../extension/jupyterlab_postdoc/labextension');

/** The names of the files that were made of `entries`. */
async function bundle(entries, options) {
  const result = await build({
    absWorkingDir: at('..'),
    entryPoints: entries,
    outdir: out,
    bundle: true,
    format: 'esm',
    target: ['es2022', 'chrome123', 'firefox120', 'safari17.5'],
    minify: !development,
    sourcemap: development ? 'inline' : false,
    legalComments: 'none',
    // React for production also while developing: it is what people get, and what figures are taken of.
    define: { 'process.env.NODE_ENV': '"production"' },
    metafile: true,
    logLevel: 'warning',
    ...options
  });
  return Object.keys(result.metafile.outputs).map(path => basename(path));
}

mkdirSync(out, { recursive: true });
const made = [
  // Parts that are loaded on demand get a name with a hash: a browser may keep them for ever.
  ...(await bundle({ page: 'src/page/main.tsx' }, { splitting: true, chunkNames: 'page-[name]-[hash]' })),
  // anywidget takes one file.
  ...(await bundle({ follow: 'src/follow/index.ts' }))
];

// What an earlier build left goes away only now, so that a server that runs always finds a page.
for (const name of readdirSync(out)) {
  if (!made.includes(name)) {
    rmSync(`${out}/${name}`, { recursive: true });
  }
}
for (const name of made.sort()) {
  const kb = gzipSync(readFileSync(`${out}/${name}`)).length / 1000;
  console.log(`${name.padEnd(28)} ${kb.toFixed(1).padStart(7)} KB gzipped`);
}

// JupyterLab shows from it that pip installed the extension, and how to remove it.
mkdirSync(labextension, { recursive: true });
copyFileSync(at('../install.json'), `${labextension}/install.json`);
