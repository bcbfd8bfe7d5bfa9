// Choose an image file. A large one is made smaller here, in the browser: servers close the connection at 10 MiB and
// less, and no network of the course takes more than some hundred pixels.
const COLAB = location.hostname.endsWith("googleusercontent.com");  // passes on 1 MB, and says nothing of more
const SMALL = COLAB ? 7e5 : 1e6, LARGEST = COLAB ? SMALL : 8e6;  // bytes: sent as they are; sent at all
async function smaller(file) {
  if (file.size <= SMALL) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);  // turned upright
  } catch {
    if (file.size <= LARGEST) return file;  // the kernel may know its kind, or says why not
    throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB, and this browser cannot make its kind of image `
      + `smaller (or it is damaged): save it as JPEG or PNG, or with less than ${LARGEST / 1e6} MB`);
  }
  const canvas = document.createElement("canvas");
  for (const side of [2048, 1448, 1024, 724]) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.fillStyle = "white";  // behind what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((take) => canvas.toBlob(take, "image/jpeg", 0.9));
    if (blob.size <= SMALL || side === 724) return blob;
  }
}
function render({ model, el }) {
  const button = document.createElement("button"), input = document.createElement("input");
  button.className = "jupyter-widgets jupyter-button widget-button xai-upload";
  button.textContent = model.get("label");
  button.title = model.get("tip");
  Object.assign(input, { type: "file", accept: "image/*", hidden: true });
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (!file) return;
    try {
      const sent = await smaller(file);
      model.send({ name: file.name }, undefined, [await sent.arrayBuffer()]);
    } catch (error) {
      model.send({ name: file.name, problem: error.message });
    }
    input.value = "";
  });
  el.append(button, input);
}
export default { render };
