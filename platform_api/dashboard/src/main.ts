/** Starts the dashboard: type, appearance, language, and the root component. */
import "pretendard/dist/web/variable/pretendardvariable-dynamic-subset.css";
import "maplibre-gl/dist/maplibre-gl.css";
import "uplot/dist/uPlot.min.css";
import "./app.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { language } from "./language/language.svelte";
import { appearance } from "./theme/theme.svelte";

appearance.start();
language.start();
const target = document.getElementById("app");
if (target) mount(App, { target });
