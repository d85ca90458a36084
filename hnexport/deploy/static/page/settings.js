export async function readSettings() {
    const response = await fetch("site.json");
    if (!response.ok)
        throw new Error(`site.json cannot be read: the server answers ${response.status}`);
    return (await response.json()).page;
}
