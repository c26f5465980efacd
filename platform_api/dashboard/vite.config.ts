import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// `npm run dev` serves the sources and passes API calls on to a running `dure api`.
const api = process.env["DURE_API_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: { target: "es2022", chunkSizeWarningLimit: 1100, assetsInlineLimit: 0 },
  server: { proxy: { "/api": api } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
