import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "jsdom",
    include: ["tests/js/**/*.test.js"],
    setupFiles: ["tests/js/setup.js"],
    testTimeout: 60_000, // only a test that hangs ends by it; a busy machine is slow
  },
});
