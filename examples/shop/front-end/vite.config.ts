import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    manifest: true,
    modulePreload: false,
    rollupOptions: { input: 'src/main.ts' },
    target: 'es2022',
  },
});
