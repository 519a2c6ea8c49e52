// Bundles what runs without JupyterLab: the plain page and the widget for notebook cells.
//   node scripts/bundle.mjs [--development] [--watch]
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const at = path => fileURLToPath(new URL(path, import.meta.url));
const development = process.argv.includes('--development');
const out = at('../../extension/jupyterlab_postdoc/static');
const labextension = at('../../extension/jupyterlab_postdoc/labextension');

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const common = {
  absWorkingDir: at('..'),
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  minify: !development,
  sourcemap: development ? 'inline' : false,
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': JSON.stringify(development ? 'development' : 'production') },
  metafile: true,
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

for (const result of [page, follow]) {
  for (const file of Object.keys(result.metafile.outputs)) {
    const path = at(`../${file}`);
    if (existsSync(path)) {
      const kb = (gzipSync(readFileSync(path)).length / 1000).toFixed(1);
      console.log(`${file.split('/').pop()}  ${kb} KB gzipped`);
    }
  }
}

// JupyterLab shows from it that pip installed the extension, and how to remove it.
if (existsSync(labextension)) {
  copyFileSync(at('../install.json'), `${labextension}/install.json`);
}
