// Bundles what runs without JupyterLab: the plain page and the widget for notebook cells.
//   node scripts/bundle.mjs [--development]
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const at = path => fileURLToPath(new URL(path, import.meta.url));
const development = process.argv.includes('--development');
const out = at('../../extension/jupyterlab_postdoc/static');
const labextension = at('../../extension/jupyterlab_postdoc/labextension');

const common = {
  absWorkingDir: at('..'),
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  minify: !development,
  sourcemap: development ? 'inline' : false,
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': JSON.stringify(development ? 'development' : 'production') },
  // Nothing is written before all of it is made: a mistake leaves the page that was there.
  write: false,
  logLevel: 'warning'
};

const page = await build({
  ...common,
  entryPoints: { page: 'src/page/main.tsx' },
  outdir: out,
  splitting: true,
  chunkNames: 'page-[name]-[hash]'
});
const follow = await build({
  ...common,
  entryPoints: { follow: 'src/follow/index.ts' },
  outdir: out
});

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const file of [...page.outputFiles, ...follow.outputFiles]) {
  const name = basename(file.path);
  writeFileSync(`${out}/${name}`, file.contents);
  console.log(`${name}  ${(gzipSync(file.contents).length / 1000).toFixed(1)} KB gzipped`);
}

// JupyterLab shows from it that pip installed the extension, and how to remove it.
if (existsSync(labextension)) {
  copyFileSync(at('../install.json'), `${labextension}/install.json`);
}
